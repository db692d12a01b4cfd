"""Documents about a journey through several countries."""

from __future__ import annotations

from collections.abc import Iterator

from langraft.corpus.almanac.facts import countries
from langraft.corpus.almanac.outlines.outline import (
    Outline,
    Statement,
    number,
    outline,
    pick_some,
    ref,
    refs,
    say,
)

_NUM_JOURNEYS = 240


def outlines() -> Iterator[Outline]:
    """Yield the journeys; they visit only countries whose facts every language states."""
    for position in range(_NUM_JOURNEYS):
        yield outline(f"journey:{position}", _journey(position), position)


def _journey(position: int) -> list[Statement]:
    open_countries = [
        c for c in countries().values() if not c.is_english_only and c.currency and c.languages
    ]
    num_stops = 3 + position % 3
    stops = pick_some(open_countries, num_stops, "journey", position)
    here = refs("country", [stop.code for stop in stops])
    days = 2 + position % 6
    middle = 1 + position % (num_stops - 2)
    previous, country, following = here[middle - 1 : middle + 2]
    num, total = number(num_stops), number(days * num_stops)
    others = [
        say("trip_between", country=country, previous=previous, next=following),
        say("trip_days", n=number(days), countries_n=num, days=total),
        say("trip_count", n=num),
    ]
    money = [
        say("unit", country=country, unit=ref("unit", stop.currency))
        for country, stop in zip(here, stops, strict=True)
    ]
    speech = [
        say("reader", country=country, languages=refs("language", stop.languages))
        for country, stop in zip(here, stops, strict=True)
    ]
    return [
        say("trip", countries=here),
        say("trip_ends", first=here[0], last=here[-1]),
        *pick_some(others, 2, "journey", position),
        *pick_some(money, 2, "journey", position),
        *pick_some(speech, 1, "journey speech", position),
    ]
