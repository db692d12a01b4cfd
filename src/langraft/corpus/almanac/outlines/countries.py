"""Documents about one country, one currency or one language.

The money and the languages of a country are stated in two documents each (its profile and one of
its own), and held-out documents are chosen so that at least one of the two is always for training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date, timedelta

from langraft.corpus.almanac.facts import LANGUAGES, Country, countries
from langraft.corpus.almanac.names import Ref
from langraft.corpus.almanac.outlines.outline import (
    Outline,
    Statement,
    is_heldout,
    money,
    number,
    pick,
    pick_some,
    say,
    spread,
)


def outlines() -> Iterator[Outline]:
    """Yield the documents about countries, then those about currencies and languages."""
    for position, country in enumerate(countries().values()):
        stated_in = ("en",) if country.is_english_only else LANGUAGES
        for topic, phase, statements in (
            ("profile", 3, _profile(country)),
            ("money", 7, _money(country)),
            ("speech", 11, _speech(country)),
        ):
            if statements:
                yield Outline(
                    id=f"{topic}:{country.code}",
                    statements=tuple(statements),
                    is_heldout=is_heldout(position, phase),
                    languages=stated_in,
                )
        yield Outline(
            id=f"week:{country.code}",
            statements=tuple(_week(country)),
            is_heldout=is_heldout(position, 14),
        )
    yield from _shared_currencies()
    yield from _shared_languages()


def _open_countries() -> list[Country]:
    """Return the countries whose facts every language states."""
    return [country for country in countries().values() if not country.is_english_only]


def _ref(country: Country) -> Ref:
    return Ref("country", country.code)


def _refs(kind: str, keys: Iterable[str]) -> tuple[Ref, ...]:
    return tuple(Ref(kind, key) for key in keys)


def _profile(country: Country) -> list[Statement]:
    if not country.currency and not country.languages:
        return []
    this, key = _ref(country), (country.code, "profile")
    statements = [say("country_code", country=this, code=Ref("code", country.code))]
    if country.currency:
        statements.append(say("unit", country=this, unit=Ref("unit", country.currency)))
        statements.append(_other_money(country, "profile"))
    if country.languages:
        statements.append(_official(country))
        statements.append(_reader(country))
    if country.first_weekday is not None:
        weekday = Ref("weekday", str(country.first_weekday))
        statements.append(say("week", country=this, weekday=weekday))
    first, *rest = statements
    return [first, *pick_some(rest, len(rest), *key)]


def _money(country: Country) -> list[Statement]:
    if not country.currency:
        return []
    this, code = _ref(country), country.currency
    key = (country.code, "money")
    currency = Ref("currency", code)
    statements = [
        say("currency", country=this, currency=currency),
        say("unit", country=this, unit=Ref("unit", code)),
        say("money_code", currency=currency, code=Ref("code", code)),
    ]
    sharing = [c for c in _open_countries() if c.currency == code and c.code != country.code]
    if sharing:
        other = _ref(pick(sharing, *key, "same"))
        statements.append(say("same_money", country=this, other=other, currency=currency))
    statements.append(_other_money(country, "money"))
    scale = pick((1, 10, 100), *key, "scale")
    cup, book = (scale * (2 + spread(*key, item) % 28) for item in ("cup", "book"))
    people = 2 + spread(*key, "people") % 7
    statements.append(pick(_prices(code, cup, book, people), *key, "price"))
    return statements


def _prices(code: str, cup: int, book: int, people: int) -> list[Statement]:
    note = 5 * 10 ** (len(str(cup)) - 1)
    paid = (cup // note + 1) * note
    return [
        say(
            "price_book",
            cup=money(cup, code),
            book=money(book, code),
            sum=money(cup + book, code),
        ),
        say(
            "price_ticket",
            ticket=money(book, code),
            n=number(people),
            sum=money(book * people, code),
        ),
        say(
            "change",
            price=money(cup, code),
            paid=money(paid, code),
            change=money(paid - cup, code),
        ),
    ]


def _other_money(country: Country, topic: str) -> Statement:
    others = [c for c in _open_countries() if c.currency and c.unit != country.unit]
    other = pick(others, country.code, topic, "other money")
    return say(
        "other_money",
        country=_ref(country),
        unit=Ref("unit", country.currency),
        other=_ref(other),
        other_unit=Ref("unit", other.currency),
    )


def _official(country: Country) -> Statement:
    if len(country.languages) == 1:
        language = Ref("language", country.languages[0])
        return say("language", country=_ref(country), language=language)
    return say("languages", country=_ref(country), languages=_refs("language", country.languages))


def _reader(country: Country) -> Statement:
    return say("reader", country=_ref(country), languages=_refs("language", country.languages))


def _speech(country: Country) -> list[Statement]:
    if not country.languages:
        return []
    this, key = _ref(country), (country.code, "speech")
    statements = [_official(country)]
    for code in country.languages[:2]:
        language = Ref("language", code)
        sharing = [c for c in _open_countries() if code in c.languages and c.code != country.code]
        if len(sharing) == 1:
            statements.append(say("also_language", other=_ref(sharing[0]), language=language))
        elif len(sharing) > 3:
            some = tuple(map(_ref, pick_some(sharing, 3, *key, code)))
            statements.append(say("spoken_in", language=language, countries=some))
    statements.append(_reader(country))
    if len(country.languages) == 1:
        others = [
            c
            for c in _open_countries()
            if len(c.languages) == 1 and c.languages != country.languages
        ]
        for other in pick_some(others, 2, *key, "other"):
            statements.append(
                say(
                    "other_language",
                    country=this,
                    language=Ref("language", country.languages[0]),
                    other=_ref(other),
                    other_language=Ref("language", other.languages[0]),
                )
            )
    return statements


def _week(country: Country) -> Iterator[Statement]:
    this, key = _ref(country), (country.code, "week")
    yield say("country_code", country=this, code=Ref("code", country.code))
    if country.first_weekday is None:
        return
    first = country.first_weekday
    start = date(2024, 1, 1) + timedelta(days=first + 7 * (spread(*key, "start") % 104))
    while 1 in (start.day, (start + timedelta(days=6)).day):
        start += timedelta(days=7)
    yield say("week", country=this, weekday=Ref("weekday", str(first)))
    if country.weekend:
        weekdays = _refs("weekday", map(str, country.weekend))
        yield say("weekend", country=this, weekdays=weekdays)
    yield say(
        "week_example",
        weekday=Ref("weekday", str(first)),
        start=Ref("date", start.isoformat()),
        last_weekday=Ref("weekday", str((first + 6) % 7)),
        end=Ref("date", (start + timedelta(days=6)).isoformat()),
    )
    yield say(
        "weekday_next",
        weekday=Ref("weekday", str((first + 6) % 7)),
        next=Ref("weekday", str(first)),
    )


def _shared_currencies() -> Iterator[Outline]:
    users: dict[str, list[Country]] = defaultdict(list)
    for country in _open_countries():
        if country.currency:
            users[country.currency].append(country)
    for position, (code, using) in enumerate(sorted(users.items())):
        currency, key = Ref("currency", code), (code, "currency")
        some = pick_some(using, 4, *key)
        statements = [say("money_code", currency=currency, code=Ref("code", code))]
        if len(using) > 1:
            statements.append(say("shared", currency=currency, countries=tuple(map(_ref, some))))
        else:
            statements.append(say("currency", country=_ref(using[0]), currency=currency))
        scale = pick((1, 10, 100), *key, "scale")
        cup, book = (scale * (2 + spread(*key, item) % 28) for item in ("cup", "book"))
        people = 2 + spread(*key, "people") % 7
        statements += _prices(code, cup, book, people)
        yield Outline(
            id=f"currency:{code}",
            statements=tuple(statements),
            is_heldout=is_heldout(position),
        )


def _shared_languages() -> Iterator[Outline]:
    speakers: dict[str, list[Country]] = defaultdict(list)
    for country in _open_countries():
        for code in country.languages:
            speakers[code].append(country)
    shared = {code: using for code, using in sorted(speakers.items()) if len(using) > 1}
    for position, (code, using) in enumerate(shared.items()):
        language = Ref("language", code)
        some = pick_some(using, 6, code, "language")
        listed = tuple(map(_ref, some[:4]))
        statements = [say("spoken_in", language=language, countries=listed)]
        statements += [_official(country) for country in some[:3]]
        statements += [_reader(country) for country in some[3:] or some]
        yield Outline(
            id=f"language:{code}",
            statements=tuple(statements),
            is_heldout=is_heldout(position),
        )
