"""Methods, one file each; the file's name is what a recipe calls ``method``."""

from langraft.core.registry import Registry
from langraft.graft.method import AbstractMethod

METHODS = Registry(__name__, AbstractMethod, "method")
