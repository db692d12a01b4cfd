"""Sources of text, one file each; a recipe names them by file under ``source``."""

from langraft.core.registry import Registry
from langraft.corpus.source import AbstractSource

SOURCES = Registry(__name__, AbstractSource, "source")
