"""Check all text that a recipe names before a run, and show all that is wrong with it at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import cast

from langraft.core.errors import UserError, errors_together
from langraft.core.settings.recipe import Recipe
from langraft.corpus.reading.addresses import is_remote
from langraft.corpus.source import AbstractSource
from langraft.evaluate.further_texts import read_further_text
from langraft.evaluate.mixed_language import read_mixed

_Checks = Iterable[Callable[[], object]]


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
    _run([*(_corpus_checks(recipe) if with_corpus else ()), *_evaluation_checks(recipe)])


def why_corpus_refused(recipe: Recipe) -> str:
    """Return why a run on this machine would refuse the text of the corpus, or an empty string.

    Addresses are not asked for: a plan waits for no server.
    """
    try:
        _run(_corpus_checks(recipe, is_local=True))
    except UserError as error:
        return str(error)
    return ""


def _run(checks: _Checks) -> None:
    found: list[UserError] = []
    for check in checks:
        try:
            check()
        except UserError as error:
            found.append(error)
    if found:
        raise errors_together(found, "the text of the recipe")


def _corpus_checks(recipe: Recipe, *, is_local: bool = False) -> Iterator[Callable[[], object]]:
    for source in cast("tuple[AbstractSource, ...]", recipe.corpus.sources):
        if is_local and is_remote(str(getattr(source, "path", ""))):
            continue
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
