"""Documents about numbers and measures."""

from __future__ import annotations

from collections.abc import Iterator

from langraft.corpus.almanac.names import Ref
from langraft.corpus.almanac.outlines.outline import (
    Outline,
    Statement,
    is_heldout,
    measure,
    number,
    pick,
    pick_some,
    say,
    spread,
)

_NUM_NUMBERS = 200
_NUM_MEASURES = 160

# Larger unit, how many smaller ones it holds, smaller unit.
_CONVERSIONS = (
    ("length-kilometer", 1000, "length-meter"),
    ("length-meter", 100, "length-centimeter"),
    ("length-centimeter", 10, "length-millimeter"),
    ("mass-kilogram", 1000, "mass-gram"),
    ("volume-liter", 1000, "volume-milliliter"),
    ("duration-hour", 60, "duration-minute"),
    ("duration-minute", 60, "duration-second"),
    ("duration-day", 24, "duration-hour"),
    ("duration-week", 7, "duration-day"),
)
_PERCENTS = (5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 75, 80, 90)


def outlines() -> Iterator[Outline]:
    """Yield the documents about numbers, then those about measures."""
    for position in range(_NUM_NUMBERS):
        yield Outline(
            id=f"number:{position}",
            statements=tuple(_numbers(position)),
            is_heldout=is_heldout(position),
        )
    for position in range(_NUM_MEASURES):
        yield Outline(
            id=f"measure:{position}",
            statements=tuple(_measures(position)),
            is_heldout=is_heldout(position),
        )


def _numbers(position: int) -> tuple[Statement, ...]:
    a, b = (2 + spread("number", position, part) % 97 for part in "ab")
    factor, times = (2 + spread("number", position, part) % 11 for part in "ft")
    large, small = max(a, b) + 1, min(a, b)
    percent = pick(_PERCENTS, "percent", position)
    whole = 20 * (2 + spread("whole", position) % 60)
    ascending = tuple(sorted({a, b + 100, factor * times + 200, whole + 400}))
    return pick_some(
        [
            say("sum", a=number(a), b=number(b), c=number(a + b)),
            say("difference", a=number(large), b=number(small), c=number(large - small)),
            say("product", a=number(factor), b=number(times), c=number(factor * times)),
            say("quotient", a=number(factor * times), b=number(factor), c=number(times)),
            say("compare", a=number(large), b=number(small)),
            say(
                "percent",
                percent=Ref("percent", str(percent)),
                whole=number(whole),
                part=number(whole * percent // 100),
            ),
            say("odd" if a % 2 else "even", n=number(a)),
            say("odd" if (whole + b) % 2 else "even", n=number(whole + b)),
            say("order", numbers=tuple(map(number, ascending))),
        ],
        7,
        "number",
        position,
    )


def _measures(position: int) -> tuple[Statement, ...]:
    larger, ratio, smaller = _CONVERSIONS[position % len(_CONVERSIONS)]
    a, b = (2 + spread("measure", position, part) % 38 for part in "ab")
    whole = 2 + spread("measure", position, "whole") % 8
    step = 5 * (2 + spread("measure", position, "step") % 9)
    hours = 2 + spread("measure", position, "hours") % 6
    flour, sugar = (50 * (2 + spread("measure", position, part) % 12) for part in ("flour", "su"))
    return pick_some(
        [
            say("measure_equal", a=measure(whole, larger), b=measure(whole * ratio, smaller)),
            say("measure_compare", a=measure(whole, larger), b=measure(ratio + a % ratio, smaller)),
            say(
                "measure_sum", a=measure(a, larger), b=measure(b, larger), c=measure(a + b, larger)
            ),
            say(
                "measure_sum",
                a=measure(5 * b, smaller),
                b=measure(3 * a, smaller),
                c=measure(5 * b + 3 * a, smaller),
            ),
            say(
                "journey",
                step=measure(step, "length-kilometer"),
                time=measure(hours, "duration-hour"),
                total=measure(step * hours, "length-kilometer"),
            ),
            say(
                "recipe",
                flour=measure(flour, "mass-gram"),
                sugar=measure(sugar, "mass-gram"),
                total=measure(flour + sugar, "mass-gram"),
            ),
        ],
        5,
        "measure",
        position,
    )
