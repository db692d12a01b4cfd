"""CLDR's name of a thing in one language, before inflection.

A thing is a ``Ref``: a kind and a key that do not depend on a language. Kinds and their keys:

    country   ISO 3166 code           date     ISO date
    currency  ISO 4217 code           number   integer
    unit      ISO 4217 code           percent  integer, 25 for 25 %
    language  language code           money    amount and currency, "12 HUF"
    month     1 to 12                 measure  amount and CLDR unit, "3 length-meter"
    weekday   0 (Monday) to 6         code     any international code, unchanged
    quarter   1 to 4
"""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from typing import NamedTuple

from babel import Locale
from babel.dates import format_date, get_day_names, get_month_names, get_quarter_names
from babel.numbers import format_currency, format_decimal, format_percent
from babel.units import format_unit

from langraft.corpus.almanac.facts import english_unit


class Ref(NamedTuple):
    """Something a sentence can mention, as codes of no language."""

    kind: str
    key: str


@cache
def name(ref: Ref, language: str) -> str:
    """Return the CLDR name of a thing in one language.

    Raises:
        KeyError: when CLDR has no such name; the almanac never falls back to a code.
    """
    locale = locale_of(language)
    kind, key = ref
    if kind == "country":
        return re.sub(r" \(.*\)", "", locale.territories[key])
    if kind == "currency":
        return locale.currencies[key]
    if kind == "unit":
        return _unit(key, language)
    if kind == "language":
        return locale.languages[key]
    if kind == "month":
        return get_month_names("wide", "stand-alone", locale)[int(key)]
    if kind == "weekday":
        return get_day_names("wide", "stand-alone", locale)[int(key)]
    if kind == "quarter":
        return get_quarter_names("wide", "format", locale)[int(key)]
    if kind == "date":
        return format_date(date.fromisoformat(key), "long", locale)
    if kind == "number":
        return format_decimal(int(key), locale=locale)
    if kind == "percent":
        return format_percent(int(key) / 100, locale=locale)
    if kind == "money":
        return _money(key, language)
    if kind == "measure":
        return _measure(key, language)
    assert kind == "code", f"unknown kind {kind!r}"
    return key


def locale_of(language: str) -> Locale:
    """Return the locale of a language; English is British, as the wording is."""
    return Locale("en", "GB") if language == "en" else Locale(language)


# Names whose unit is not where the rule of ``_unit`` looks for it.
_IRREGULAR_UNITS = {
    ("el", "ILS"): "σέκελ",
    ("el", "NIO"): "κόρδοβα",
    ("hi", "GBP"): "पाउंड",
    ("hu", "XAF"): "frank",
    ("hu", "XOF"): "frank",
    ("tr", "EUR"): "euro",
}


def _unit(currency: str, language: str) -> str:
    """Return the unit inside a currency's name: forint in "magyar forint", "Forint ya Hungaria"."""
    if (language, currency) in _IRREGULAR_UNITS:
        return _IRREGULAR_UNITS[language, currency]
    words = locale_of(language).currencies[currency].split()
    if language == "en":
        return english_unit(currency)
    if language == "hu":
        return words[-1].split("-")[-1]
    if language == "hi":
        return words[-1]
    if language == "tr":
        return _without_possessive(words[-1])
    return words[0][0].lower() + words[0][1:]


def _without_possessive(word: str) -> str:
    """Undo the Turkish possessive: pesosu becomes peso, forinti forint."""
    stem = word[:-1]
    if stem.endswith("s") and stem[-2] in "aıoueiöü":
        return stem[:-1]
    return stem[:-1] + "k" if stem.endswith("ng") and stem != "dong" else stem


def _money(key: str, language: str) -> str:
    amount, currency = key.split()
    return format_currency(
        int(amount),
        currency,
        "#,##0",
        locale=locale_of(language),
        currency_digits=False,
        format_type="name",
    )


def _measure(key: str, language: str) -> str:
    """Format an amount; CLDR omits the long form when the short one is the same."""
    amount, unit = key.split()
    text = format_unit(int(amount), unit, "long", locale=locale_of(language))
    if unit in text:
        text = format_unit(int(amount), unit, "short", locale=locale_of(language))
    if unit in text:
        raise KeyError(f"CLDR has no name for {unit} in {language}")
    return text
