"""Documents about months, weekdays and dates."""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from datetime import date, timedelta

from langraft.corpus.almanac.names import Ref
from langraft.corpus.almanac.outlines.outline import (
    Outline,
    Statement,
    draw,
    measure,
    number,
    outline,
    pick_some,
    ref,
    say,
)

_DOCUMENTS_PER_MONTH = 5
_DOCUMENTS_PER_WEEKDAY = 5
_NUM_DATES = 260


def outlines() -> Iterator[Outline]:
    """Yield the documents about months, then weekdays, then dates."""
    # There are so few statements about a month or a weekday that every sentence of a held-out
    # document would also be in a training document, so none is held out.
    for variant in range(_DOCUMENTS_PER_MONTH):
        for month in range(1, 13):
            yield outline(f"month:{month}-{variant}", _month(month, variant))
    for variant in range(_DOCUMENTS_PER_WEEKDAY):
        for weekday in range(7):
            yield outline(f"weekday:{weekday}-{variant}", _weekday(weekday, variant))
    for position in range(_NUM_DATES):
        yield outline(f"date:{position}", _date(position), position)


def _month_ref(month: int) -> Ref:
    return ref("month", (month - 1) % 12 + 1)


def _month(month: int, variant: int) -> list[Statement]:
    this, previous, following = _month_ref(month), _month_ref(month - 1), _month_ref(month + 1)
    months_later = 2 + (month + 2 * variant) % 8
    first_month, quarter = month - (month - 1) % 3, ref("quarter", (month - 1) // 3 + 1)
    if month == 2:
        length = say("month_february", month=this)
    else:
        days = measure(calendar.monthrange(2025, month)[1], "duration-day")
        length = say("month_length", month=this, days=days)
    three_months = tuple(_month_ref(first_month + i) for i in range(3))
    later = _month_ref(month + months_later)
    neighbours = [
        say("month_next", month=this, next=following),
        say("month_previous", month=this, previous=previous),
    ]
    others = [
        say("month_place", month=this, n=number(month)),
        length,
        say("month_between", month=this, previous=previous, next=following),
        say("month_quarter", month=this, quarter=quarter),
        say("quarter_months", quarter=quarter, months=three_months),
        say("month_span", month=this, n=number(months_later), later=later),
    ]
    return [*neighbours, *pick_some(others, 4, month, variant)]


def _weekday_ref(weekday: int) -> Ref:
    return ref("weekday", weekday % 7)


def _weekday(weekday: int, variant: int) -> list[Statement]:
    this = _weekday_ref(weekday)
    previous, following = _weekday_ref(weekday - 1), _weekday_ref(weekday + 1)
    spans = [2 + (variant + step) % 9 for step in (0, 3, 5)]
    return [
        say("weekday_next", weekday=this, next=following),
        say("weekday_previous", weekday=this, previous=previous),
        say("weekday_between", weekday=this, previous=previous, next=following),
        *(
            say("weekday_after", weekday=this, n=number(n), later=_weekday_ref(weekday + n))
            for n in spans
        ),
    ]


def _date(position: int) -> list[Statement]:
    """Describe a day of 2020 to 2029, never the first of a month, which some languages inflect."""
    days, weeks = 3 + position % 17, 2 + position % 9
    # Every document chooses from its own fortnight, so no two describe the same day.
    day = date(2020, 1, 2) + timedelta(days=14 * position + draw(0, 7, "date", position))
    while any(d.day == 1 for d in _neighbours(day, days, weeks)) or _days_left(day) < 2:
        day += timedelta(days=1)
    this, following, after_days, after_weeks = (
        ref("date", d.isoformat()) for d in _neighbours(day, days, weeks)
    )
    is_leap = calendar.isleap(day.year)
    others = [
        say("date_weeks", date=this, n=number(weeks), later=after_weeks),
        say("date_days", date=this, n=number(days), later=after_days),
        say("date_left", date=this, n=number(_days_left(day))),
        say("date_ordinal", date=this, n=number(day.timetuple().tm_yday)),
        say("year_leap" if is_leap else "year_common", year=number(day.year)),
    ]
    return [
        say("date_weekday", date=this, weekday=_weekday_ref(day.weekday())),
        say("date_next", date=this, next=following, weekday=_weekday_ref(day.weekday() + 1)),
        *pick_some(others, 3, "date", position),
    ]


def _neighbours(day: date, days: int, weeks: int) -> list[date]:
    return [day, *(day + timedelta(days=n) for n in (1, days, 7 * weeks))]


def _days_left(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1] - day.day
