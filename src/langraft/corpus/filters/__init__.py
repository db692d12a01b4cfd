"""Filters of documents, one file each; a recipe names them by file."""

from langraft.core.registry import Registry
from langraft.corpus.filter import AbstractFilter

FILTERS = Registry(__name__, AbstractFilter, "filter")
