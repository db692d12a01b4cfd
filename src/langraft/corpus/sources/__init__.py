"""Sources of text, one file each; the file's name is what a recipe calls ``source``."""

from langraft.core.registry import Registry
from langraft.corpus.source import AbstractSource

SOURCES = Registry(__name__, AbstractSource, "source")
