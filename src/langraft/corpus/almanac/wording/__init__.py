"""The almanac's sentences: one file a language, every one with the same kinds of sentence."""

from __future__ import annotations

import importlib
from functools import cache

from langraft.corpus.almanac.wording.shape import Wording


@cache
def wording(language: str) -> Wording:
    """Return the sentence templates of one language."""
    return importlib.import_module(f"{__name__}.{language}").WORDING
