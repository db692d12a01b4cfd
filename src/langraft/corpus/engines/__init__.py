"""Engines that do the corpus work, one file each; the file's name is what a recipe calls it."""

from langraft.core.registry import Registry
from langraft.corpus.engine import AbstractEngine

ENGINES = Registry(__name__, AbstractEngine, "engine")
