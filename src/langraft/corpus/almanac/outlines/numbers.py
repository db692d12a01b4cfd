"""Documents about numbers and measures."""

from __future__ import annotations

from collections.abc import Iterator

from langraft.corpus.almanac.outlines.outline import (
    Outline,
    Statement,
    draw,
    measure,
    number,
    outline,
    pick,
    pick_some,
    ref,
    refs,
    say,
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
        yield outline(f"number:{position}", _numbers(position), position)
    for position in range(_NUM_MEASURES):
        yield outline(f"measure:{position}", _measures(position), position)


def _numbers(position: int) -> tuple[Statement, ...]:
    a, b = (draw(2, 97, "number", position, part) for part in "ab")
    factor, times = (draw(2, 11, "number", position, part) for part in "ft")
    large, small = max(a, b) + 1, min(a, b)
    percent = pick(_PERCENTS, "percent", position)
    whole = 20 * draw(2, 60, "whole", position)
    part = number(whole * percent // 100)
    ascending = sorted({a, b + 100, factor * times + 200, whole + 400})
    statements = [
        say("sum", a=number(a), b=number(b), c=number(a + b)),
        say("difference", a=number(large), b=number(small), c=number(large - small)),
        say("product", a=number(factor), b=number(times), c=number(factor * times)),
        say("quotient", a=number(factor * times), b=number(factor), c=number(times)),
        say("compare", a=number(large), b=number(small)),
        say("percent", percent=ref("percent", percent), whole=number(whole), part=part),
        say("odd" if a % 2 else "even", n=number(a)),
        say("odd" if (whole + b) % 2 else "even", n=number(whole + b)),
        say("order", numbers=refs("number", ascending)),
    ]
    return pick_some(statements, 7, "number", position)


def _measures(position: int) -> tuple[Statement, ...]:
    larger, ratio, smaller = _CONVERSIONS[position % len(_CONVERSIONS)]
    a, b = (draw(2, 38, "measure", position, part) for part in "ab")
    whole = draw(2, 8, "measure", position, "whole")
    km = 5 * draw(2, 9, "measure", position, "step")
    hours = draw(2, 6, "measure", position, "hours")
    flour, sugar = (50 * draw(2, 12, "measure", position, part) for part in ("flour", "su"))
    mixed = {"flour": flour, "sugar": sugar, "total": flour + sugar}
    small = {"a": 5 * b, "b": 3 * a, "c": 5 * b + 3 * a}
    large = {"a": a, "b": b, "c": a + b}
    statements = [
        say("measure_equal", a=measure(whole, larger), b=measure(whole * ratio, smaller)),
        say("measure_compare", a=measure(whole, larger), b=measure(ratio + a % ratio, smaller)),
        say("measure_sum", **{slot: measure(amount, larger) for slot, amount in large.items()}),
        say("measure_sum", **{slot: measure(amount, smaller) for slot, amount in small.items()}),
        say(
            "journey",
            step=measure(km, "length-kilometer"),
            time=measure(hours, "duration-hour"),
            total=measure(km * hours, "length-kilometer"),
        ),
        say("recipe", **{slot: measure(amount, "mass-gram") for slot, amount in mixed.items()}),
    ]
    return pick_some(statements, 5, "measure", position)
