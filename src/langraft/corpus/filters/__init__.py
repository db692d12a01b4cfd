"""Filters of documents, one file each; the file's name is what a recipe calls it."""

from langraft.core.registry import Registry
from langraft.corpus.filter import AbstractFilter

FILTERS = Registry(__name__, AbstractFilter, "filter")
