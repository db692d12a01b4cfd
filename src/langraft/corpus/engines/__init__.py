"""Engines that run the corpus step's tasks, one file each; a recipe names them by file."""

from langraft.core.registry import Registry
from langraft.corpus.engine import AbstractEngine

ENGINES = Registry(__name__, AbstractEngine, "engine")
