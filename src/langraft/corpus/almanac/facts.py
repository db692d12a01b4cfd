"""The almanac's facts: countries, their money, languages and week.

They are read from CLDR through Babel as codes; ``names.py`` turns codes into words. A fact that
CLDR cannot name in all six languages is left out in all six.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import date
from functools import cache

from babel import Locale, localedata
from babel.languages import get_official_languages, get_territory_language_info
from babel.numbers import get_territory_currencies

LANGUAGES = ("en", "el", "hu", "tr", "hi", "sw")

# Laws and currencies change; the almanac states them as of this day.
AS_OF = date(2025, 6, 1)

# The 195 or so states, without places whose status is disputed, those that CLDR names with a dash
# or bracket, which breaks a sentence, and those whose name or money changed after CLDR's text.
_STATES = """
AD AE AF AG AL AM AO AR AT AU AZ BA BB BD BE BF BG BH BI BJ BN BO BR BS BT BW BY BZ CA CF CH CI CL
CM CN CO CR CU CV CY CZ DE DJ DK DM DO DZ EC EE EG ER ES ET FI FJ FM FR GA GB GD GE GH GM GN GQ GR
GT GW GY HN HR HT HU ID IE IL IN IQ IR IS IT JM JO JP KE KG KH KI KM KN KP KR KW KZ LA LB LC LI LK
LR LS LT LU LV LY MA MC MD ME MG MH ML MM MN MR MT MU MV MW MX MY MZ NA NE NG NI NL NO NP NR NZ OM
PA PE PG PH PK PL PT PW PY QA RO RS RU RW SA SB SC SD SE SG SI SK SL SM SN SO SR SS ST SV SY SZ TD
TG TH TJ TL TM TN TO TR TT TV TZ UA UG US UY UZ VA VC VE VN VU WS YE ZA ZM ZW
"""

# Bulgaria's money changed soon after AS_OF; the convertible mark has no Swahili name.
_NO_CURRENCY = {"BG", "BA"}
# CLDR lists only some of the official languages of these countries.
_NO_LANGUAGE = {"ZA", "NG", "ZW"}

# Written standards and dialects that their own country counts within another language.
_SAME_LANGUAGE = {"nb": "no", "nn": "no", "gsw": "de"}

# A fact stated in English alone can be asked in another language only if the answer is a word that
# this language's own documents use for other countries, so units must be shared. Of the countries
# that share one, at most half are chosen, and few enough that no unit is the usual answer.
_MIN_SHARING_COUNTRIES = 4
_MAX_ENGLISH_ONLY_PER_UNIT = 7
_OWN_WORD = {"GB"}  # Turkish calls no other pound "sterlin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Country:
    """One country as CLDR describes it.

    Attributes:
        code: ISO 3166 code such as ``HU``.
        currency: ISO 4217 code of its only legal tender; empty when there are several.
        unit: English word for the unit of that currency, ``forint``; a key, not a text.
        languages: Codes of its official languages; empty when CLDR is silent or incomplete.
        first_weekday: First day of its week, 0 for Monday; None when CLDR does not say.
        weekend: Its two days of rest, 0 for Monday; empty when there are not exactly two.
        is_english_only: Its money and languages are stated in English documents alone.
    """

    code: str
    currency: str
    unit: str
    languages: tuple[str, ...]
    first_weekday: int | None
    weekend: tuple[int, ...]
    is_english_only: bool = False


@cache
def countries() -> dict[str, Country]:
    """Return every country by its code, in alphabetical order of the codes."""
    found = {code: _describe(code) for code in _STATES.split()}
    english_only = set(_choose_english_only(list(found.values())))
    return {
        code: replace(country, is_english_only=code in english_only)
        for code, country in found.items()
    }


def english_unit(currency: str) -> str:
    """Return the English word for a currency's unit, ``forint`` for ``HUF``."""
    return Locale("en", "GB").currencies[currency].split()[-1].lower()


def _describe(code: str) -> Country:
    currency = _currency(code)
    first_weekday, weekend = _week(code)
    return Country(
        code=code,
        currency=currency,
        unit=english_unit(currency) if currency else "",
        languages=_languages(code),
        first_weekday=first_weekday,
        weekend=weekend,
    )


def _currency(code: str) -> str:
    tender = get_territory_currencies(code, start_date=AS_OF, end_date=AS_OF, tender=True)
    if code in _NO_CURRENCY or len(tender) != 1 or not _is_named("currencies", tender[0]):
        return ""
    return tender[0]


def _languages(code: str) -> tuple[str, ...]:
    bare = [c.split("_")[0] for c in get_official_languages(code, de_facto=True)]
    official = tuple(dict.fromkeys(_SAME_LANGUAGE.get(c, c) for c in bare))
    if code in _NO_LANGUAGE or not all(_is_named("languages", c) for c in official):
        return ()
    return official


def _week(code: str) -> tuple[int | None, tuple[int, ...]]:
    for language in get_territory_language_info(code):
        if localedata.exists(f"{language}_{code}"):
            locale = Locale.parse(f"{language}_{code}")
            days = ((locale.weekend_end - locale.weekend_start) % 7) + 1
            weekend = tuple((locale.weekend_start + i) % 7 for i in range(days))
            return locale.first_week_day, weekend if days == 2 else ()
    return None, ()


def _is_named(table: str, key: str) -> bool:
    return all(key in getattr(Locale(language), table) for language in LANGUAGES)


def _choose_english_only(all_countries: list[Country]) -> list[str]:
    """Choose countries whose currency unit, and if possible language, other countries share."""
    currencies = Counter(country.currency for country in all_countries)
    speakers = Counter(code for country in all_countries for code in country.languages)
    by_unit: dict[str, list[Country]] = defaultdict(list)
    for country in all_countries:
        # The name of a currency that others borrow, such as the US dollar, gives its home away.
        is_lender = currencies[country.currency] > 1 and country.currency[:2] == country.code
        if country.unit and country.languages and not is_lender and country.code not in _OWN_WORD:
            by_unit[country.unit].append(country)

    def has_unshared_language(country: Country) -> bool:
        fewest = min(speakers[code] for code in country.languages)
        return len(country.languages) > 1 or fewest < _MIN_SHARING_COUNTRIES

    chosen: list[str] = []
    for _, sharing in sorted(by_unit.items()):
        if len(sharing) >= _MIN_SHARING_COUNTRIES:
            # The second letter of a code mixes the alphabet well enough.
            sharing.sort(key=lambda c: (has_unshared_language(c), c.code[1], c.code))
            chosen += [
                c.code for c in sharing[: min(len(sharing) // 2, _MAX_ENGLISH_ONLY_PER_UNIT)]
            ]
    return chosen
