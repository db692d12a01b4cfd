"""Turns a statement into a sentence of a language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from babel.lists import format_list

from langraft.corpus.almanac.grammar import grammar
from langraft.corpus.almanac.names import Ref, locale_of, name
from langraft.corpus.almanac.outlines.outline import Statement, Value
from langraft.corpus.almanac.wording import wording

_SLOT = re.compile(r"\{(\w+)(?:\.(\w+))?\}")


def templates(kind: str, language: str) -> Sequence[str]:
    """Return a language's templates for one kind of statement."""
    return wording(language)[kind]


def sentence(statement: Statement, template: str, language: str) -> str:
    """Fill a template and start it with a capital letter."""
    filled = fill(statement, template, language)
    # A Hungarian date ends in a full stop, which the sentence then need not repeat.
    return capitalize(filled.replace("..", "."), language)


def fill(statement: Statement, template: str, language: str) -> str:
    """Fill the slots of a template, or of a part of one.

    Raises:
        KeyError: for a slot that the statement has no value for.
    """
    return _SLOT.sub(
        lambda slot: render(statement.values[slot[1]], slot[2] or "", language), template
    )


def render(value: Value, form: str, language: str) -> str:
    """Return the name of a thing, or a list of names, in one form of a language."""
    if isinstance(value, Ref):
        return _render_one(value, form, language)
    items = [_render_one(ref, form, language) for ref in value]
    return format_list(items, locale=locale_of(language))


def capitalize(text: str, language: str) -> str:
    """Capitalize the first letter; Turkish i becomes İ."""
    first = "İ" if language == "tr" and text[0] == "i" else text[0].upper()
    return first + text[1:]


@cache
def _render_one(ref: Ref, form: str, language: str) -> str:
    return grammar(language)(ref.kind, ref.key, name(ref, language), form)
