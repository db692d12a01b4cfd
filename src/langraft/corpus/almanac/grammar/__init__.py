"""Inflection of names inside sentences: a file for each language, with a function ``inflect``."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache

# (kind, key, name, form) -> the name in that form; see ``names.py`` for kinds and keys.
Inflect = Callable[[str, str, str, str], str]


@cache
def grammar(language: str) -> Inflect:
    """Return the function that inflects names of one language."""
    return importlib.import_module(f"{__name__}.{language}").inflect
