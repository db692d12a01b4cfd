"""Outlines of the almanac's documents, independent of language: a file for each theme."""

from __future__ import annotations

from functools import cache

from langraft.corpus.almanac.outlines import calendar, countries, journeys, numbers
from langraft.corpus.almanac.outlines.outline import Outline


@cache
def outlines() -> tuple[Outline, ...]:
    """Return the outline of every document, theme by theme."""
    return (
        *countries.outlines(),
        *calendar.outlines(),
        *numbers.outlines(),
        *journeys.outlines(),
    )
