"""Documents about a journey through several countries."""

from __future__ import annotations

from collections.abc import Iterator

from langraft.corpus.almanac.facts import countries
from langraft.corpus.almanac.names import Ref
from langraft.corpus.almanac.outlines.outline import (
    Outline,
    Statement,
    is_heldout,
    number,
    pick_some,
    say,
)

_NUM_JOURNEYS = 240


def outlines() -> Iterator[Outline]:
    """Yield the journeys; they visit only countries whose facts every language states."""
    for position in range(_NUM_JOURNEYS):
        yield Outline(
            id=f"journey:{position}",
            statements=tuple(_journey(position)),
            is_heldout=is_heldout(position),
        )


def _journey(position: int) -> list[Statement]:
    open_countries = [
        c for c in countries().values() if not c.is_english_only and c.currency and c.languages
    ]
    num_stops = 3 + position % 3
    stops = pick_some(open_countries, num_stops, "journey", position)
    refs = tuple(Ref("country", stop.code) for stop in stops)
    days = 2 + position % 6
    middle = 1 + position % (num_stops - 2)
    others = [
        say(
            "trip_between",
            country=refs[middle],
            previous=refs[middle - 1],
            next=refs[middle + 1],
        ),
        say(
            "trip_days",
            n=number(days),
            countries_n=number(num_stops),
            days=number(days * num_stops),
        ),
        say("trip_count", n=number(num_stops)),
    ]
    money = [
        say("unit", country=ref, unit=Ref("unit", stop.currency))
        for ref, stop in zip(refs, stops, strict=True)
    ]
    speech = [
        say(
            "reader",
            country=ref,
            languages=tuple(Ref("language", code) for code in stop.languages),
        )
        for ref, stop in zip(refs, stops, strict=True)
    ]
    return [
        say("trip", countries=refs),
        say("trip_ends", first=refs[0], last=refs[-1]),
        *pick_some(others, 2, "journey", position),
        *pick_some(money, 2, "journey", position),
        *pick_some(speech, 1, "journey speech", position),
    ]
