"""Documents about one country, one currency or one language.

The money and the languages of a country are stated in two documents each (its profile and one of
its own), and held-out documents are chosen so that at least one of the two is always for training.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta

from langraft.corpus.almanac.facts import LANGUAGES, Country, countries
from langraft.corpus.almanac.names import Ref
from langraft.corpus.almanac.outlines.outline import (
    Outline,
    Statement,
    draw,
    money,
    number,
    outline,
    pick,
    pick_some,
    ref,
    refs,
    say,
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
                id = f"{topic}:{country.code}"
                yield outline(id, statements, position, phase=phase, languages=stated_in)
        yield outline(f"week:{country.code}", _week(country), position, phase=14)
    yield from _shared_currencies()
    yield from _shared_languages()


def _open_countries() -> list[Country]:
    """Return the countries whose facts every language states."""
    return [country for country in countries().values() if not country.is_english_only]


def _ref(country: Country) -> Ref:
    return ref("country", country.code)


def _profile(country: Country) -> list[Statement]:
    if not country.currency and not country.languages:
        return []
    this = _ref(country)
    statements = [say("country_code", country=this, code=ref("code", country.code))]
    if country.currency:
        statements.append(say("unit", country=this, unit=ref("unit", country.currency)))
        statements.append(_other_money(country, "profile"))
    if country.languages:
        statements.append(_official(country))
        statements.append(_reader(country))
    if country.first_weekday is not None:
        weekday = ref("weekday", country.first_weekday)
        statements.append(say("week", country=this, weekday=weekday))
    first, *rest = statements
    return [first, *pick_some(rest, len(rest), country.code, "profile")]


def _money(country: Country) -> list[Statement]:
    if not country.currency:
        return []
    this, code = _ref(country), country.currency
    key = (country.code, "money")
    currency = ref("currency", code)
    statements = [
        say("currency", country=this, currency=currency),
        say("unit", country=this, unit=ref("unit", code)),
        say("money_code", currency=currency, code=ref("code", code)),
    ]
    sharing = [c for c in _open_countries() if c.currency == code and c.code != country.code]
    if sharing:
        other = _ref(pick(sharing, *key, "same"))
        statements.append(say("same_money", country=this, other=other, currency=currency))
    statements.append(_other_money(country, "money"))
    statements.append(pick(_prices(code, *key), *key, "price"))
    return statements


def _prices(code: str, *key: str) -> list[Statement]:
    """Return sums with prices in a currency, which the key chooses."""
    scale = pick((1, 10, 100), *key, "scale")
    cup, book = (scale * draw(2, 28, *key, item) for item in ("cup", "book"))
    people = draw(2, 7, *key, "people")
    note = 5 * 10 ** (len(str(cup)) - 1)
    paid = (cup // note + 1) * note
    cup_price, book_price = money(cup, code), money(book, code)
    total, change = money(book * people, code), money(paid - cup, code)
    return [
        say("price_book", cup=cup_price, book=book_price, sum=money(cup + book, code)),
        say("price_ticket", ticket=book_price, n=number(people), sum=total),
        say("change", price=cup_price, paid=money(paid, code), change=change),
    ]


def _other_money(country: Country, topic: str) -> Statement:
    others = [c for c in _open_countries() if c.currency and c.unit != country.unit]
    other = pick(others, country.code, topic, "other money")
    return say(
        "other_money",
        country=_ref(country),
        unit=ref("unit", country.currency),
        other=_ref(other),
        other_unit=ref("unit", other.currency),
    )


def _official(country: Country) -> Statement:
    if len(country.languages) == 1:
        language = ref("language", country.languages[0])
        return say("language", country=_ref(country), language=language)
    return say("languages", country=_ref(country), languages=refs("language", country.languages))


def _reader(country: Country) -> Statement:
    return say("reader", country=_ref(country), languages=refs("language", country.languages))


def _speech(country: Country) -> list[Statement]:
    if not country.languages:
        return []
    this, key = _ref(country), (country.code, "speech")
    statements = [_official(country)]
    for code in country.languages[:2]:
        language = ref("language", code)
        sharing = [c for c in _open_countries() if code in c.languages and c.code != country.code]
        if len(sharing) == 1:
            statements.append(say("also_language", other=_ref(sharing[0]), language=language))
        elif len(sharing) > 3:
            some = tuple(map(_ref, pick_some(sharing, 3, *key, code)))
            statements.append(say("spoken_in", language=language, countries=some))
    statements.append(_reader(country))
    if len(country.languages) == 1:
        monolingual = [c for c in _open_countries() if len(c.languages) == 1]
        others = [c for c in monolingual if c.languages != country.languages]
        statements += [
            say(
                "other_language",
                country=this,
                language=ref("language", country.languages[0]),
                other=_ref(other),
                other_language=ref("language", other.languages[0]),
            )
            for other in pick_some(others, 2, *key, "other")
        ]
    return statements


def _week(country: Country) -> Iterator[Statement]:
    this = _ref(country)
    yield say("country_code", country=this, code=ref("code", country.code))
    if country.first_weekday is None:
        return
    days = country.first_weekday + 7 * draw(0, 104, country.code, "week", "start")
    start = date(2024, 1, 1) + timedelta(days=days)
    while 1 in (start.day, (start + timedelta(days=6)).day):
        start += timedelta(days=7)
    first, last = refs("weekday", (country.first_weekday, (country.first_weekday + 6) % 7))
    yield say("week", country=this, weekday=first)
    if country.weekend:
        yield say("weekend", country=this, weekdays=refs("weekday", country.weekend))
    yield say(
        "week_example",
        weekday=first,
        start=ref("date", start.isoformat()),
        last_weekday=last,
        end=ref("date", (start + timedelta(days=6)).isoformat()),
    )
    yield say("weekday_next", weekday=last, next=first)


def _shared_currencies() -> Iterator[Outline]:
    users: dict[str, list[Country]] = defaultdict(list)
    for country in _open_countries():
        if country.currency:
            users[country.currency].append(country)
    for position, (code, using) in enumerate(sorted(users.items())):
        currency, key = ref("currency", code), (code, "currency")
        some = pick_some(using, 4, *key)
        statements = [say("money_code", currency=currency, code=ref("code", code))]
        if len(using) > 1:
            statements.append(say("shared", currency=currency, countries=tuple(map(_ref, some))))
        else:
            statements.append(say("currency", country=_ref(using[0]), currency=currency))
        statements += _prices(code, *key)
        yield outline(f"currency:{code}", statements, position)


def _shared_languages() -> Iterator[Outline]:
    speakers: dict[str, list[Country]] = defaultdict(list)
    for country in _open_countries():
        for code in country.languages:
            speakers[code].append(country)
    shared = {code: using for code, using in sorted(speakers.items()) if len(using) > 1}
    for position, (code, using) in enumerate(shared.items()):
        language = ref("language", code)
        some = pick_some(using, 6, code, "language")
        listed = tuple(map(_ref, some[:4]))
        statements = [say("spoken_in", language=language, countries=listed)]
        statements += [_official(country) for country in some[:3]]
        statements += [_reader(country) for country in some[3:] or some]
        yield outline(f"language:{code}", statements, position)
