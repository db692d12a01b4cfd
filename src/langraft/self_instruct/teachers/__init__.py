"""Teachers, one file each; the file's name is what a config calls ``name``."""

from langraft.core.registry import Registry
from langraft.self_instruct.teacher import AbstractTeacher

TEACHERS = Registry(__name__, AbstractTeacher, "teacher")
