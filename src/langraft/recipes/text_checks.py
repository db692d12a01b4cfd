"""Check all text that a recipe names before a run, and show all that is wrong with it at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import cast

from langraft.core.errors import UserError, errors_together
from langraft.core.settings.recipe import Recipe
from langraft.corpus.source import AbstractSource
from langraft.evaluate.further_texts import read_further_text
from langraft.evaluate.mixed_language import read_mixed


def check_text(recipe: Recipe, *, with_corpus: bool) -> None:
    """Refuse a recipe whose text is missing or cannot be read.

    Data sets of the hub are left to the corpus step, which asks the hub for their files.

    Args:
        recipe: What is to be run.
        with_corpus: Whether to check the sources of the corpus too; a plan needs none of them here.

    Raises:
        UserError: the mistake, when there is one.
        CorpusError: with all mistakes, when there are several.
    """
    found: list[UserError] = []
    checks = [*(_corpus_checks(recipe) if with_corpus else ()), *_evaluation_checks(recipe)]
    for check in checks:
        try:
            check()
        except UserError as error:
            found.append(error)
    if found:
        raise errors_together(found, "the text of the recipe")


def _corpus_checks(recipe: Recipe) -> Iterator[Callable[[], object]]:
    for source in cast("tuple[AbstractSource, ...]", recipe.corpus.sources):
        for stream in source.streams:
            yield functools.partial(source.check, stream)


def _evaluation_checks(recipe: Recipe) -> Iterator[Callable[[], object]]:
    settings = recipe.evaluate
    if settings.mixed is not None:
        for code in recipe.languages.new:
            yield functools.partial(read_mixed, settings.mixed, recipe.languages.original[0], code)
    for text in settings.texts:
        for code in text.languages:
            yield functools.partial(read_further_text, text, code)
