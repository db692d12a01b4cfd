"""The kinds of sentence that every language must know how to say."""

from __future__ import annotations

from dataclasses import dataclass

Templates = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """Several ways to say each kind of sentence.

    A slot ``{country}`` takes a name as it stands, ``{country.in}`` the form that the language's
    file in ``grammar/`` calls ``in``. The first template of the kinds marked "probe" ends a phrase
    right before its answer, so that cutting it there gives the start of a question.
    """

    # Countries and their money.
    currency: Templates  # country, currency
    unit: Templates  # country, unit; probe for unit
    money_code: Templates  # currency, code
    shared: Templates  # currency, countries (two or more)
    same_money: Templates  # country, other, currency
    other_money: Templates  # country, unit, other, other_unit
    price_book: Templates  # cup, book, sum
    price_ticket: Templates  # ticket, n, sum
    change: Templates  # price, paid, change

    # Countries and their languages.
    language: Templates  # country, language; probe for language
    languages: Templates  # country, languages
    also_language: Templates  # other, language
    spoken_in: Templates  # language, countries (two or more)
    other_language: Templates  # country, language, other, other_language
    reader: Templates  # country, languages (one or more)

    # Countries and their week.
    country_code: Templates  # country, code
    week: Templates  # country, weekday
    weekend: Templates  # country, weekdays (two)
    week_example: Templates  # weekday, start, last_weekday, end

    # The calendar.
    month_next: Templates  # month, next; probe for next
    month_previous: Templates  # month, previous; probe for previous
    month_place: Templates  # month, n
    month_length: Templates  # month, days (a measure)
    month_february: Templates  # month
    month_quarter: Templates  # month, quarter
    quarter_months: Templates  # quarter, months
    month_between: Templates  # month, previous, next
    month_span: Templates  # month, n, later
    weekday_next: Templates  # weekday, next; probe for next
    weekday_previous: Templates  # weekday, previous; probe for previous
    weekday_between: Templates  # weekday, previous, next
    weekday_after: Templates  # weekday, n, later
    date_weekday: Templates  # date, weekday
    date_next: Templates  # date, next, weekday
    date_weeks: Templates  # date, n, later
    date_days: Templates  # date, n, later
    date_left: Templates  # date, n (days until the end of the month)
    date_ordinal: Templates  # date, n (its place in the year)
    year_leap: Templates  # year
    year_common: Templates  # year

    # Numbers.
    sum: Templates  # a, b, c
    difference: Templates  # a, b, c
    product: Templates  # a, b, c
    quotient: Templates  # a, b, c
    compare: Templates  # a (greater), b
    percent: Templates  # percent, whole, part
    even: Templates  # n
    odd: Templates  # n
    order: Templates  # numbers, ascending

    # Measures.
    measure_equal: Templates  # a, b
    measure_compare: Templates  # a (greater), b
    measure_sum: Templates  # a, b, c
    journey: Templates  # step, time, total
    recipe: Templates  # flour, sugar, total

    # Journeys through several countries.
    trip: Templates  # countries
    trip_ends: Templates  # first, last
    trip_count: Templates  # n
    trip_between: Templates  # country, previous, next
    trip_days: Templates  # n (days in each country), countries_n, days
