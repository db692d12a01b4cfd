"""Languages: their codes, names and roles in a run."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from babel import Locale, UnknownLocaleError
from babel.core import get_global, parse_locale
from pydantic import AfterValidator

Role = Literal["original", "new", "transfer"]


_LONGEST = 35  # characters, as BCP 47 recommends to allow at least
_EXPECTED = "expected a language code such as en, el, sw or zh-Hant (BCP 47)"
# language, script, region, variants; as BCP 47 writes them, or with _ as many data sets do
_CODE = re.compile(
    r"[a-z]{2,3}([-_][A-Z][a-z]{3})?([-_]([A-Z]{2}|[0-9]{3}))?([-_]([0-9a-z]{5,8}|[0-9][0-9a-z]{3}))*"
)


def check_language(code: str) -> str:
    """Return a language code if it is valid BCP 47 and CLDR knows the language.

    CLDR has English names of about 650 languages and the scripts of 7000 more; both kinds are
    valid. A code also names streams and folders, so each language has one spelling: ``el``, not
    ``ell``, ``EL`` or ``greek``.

    Raises:
        ValueError: for anything else, with the code that is probably meant.
    """
    if len(code) > _LONGEST:
        raise ValueError(f"{_EXPECTED}, of at most {_LONGEST} characters")
    if _CODE.fullmatch(code) and primary_language(code) in known_languages():
        return code
    meant = _meant(code)
    hint = f"; perhaps {meant!r} is meant" if meant and meant != code else ""
    raise ValueError(f"{_EXPECTED}{hint}")


@functools.cache
def known_languages() -> frozenset[str]:
    """Return the codes of all languages that CLDR knows, without script or region."""
    scripts: Mapping[str, str] = get_global("likely_subtags")
    return frozenset(Locale("en").languages) | {primary_language(code) for code in scripts}


def _meant(given: str) -> str:
    """Guess the code from a locale (``zh_CN.UTF-8``), ISO 639-3 (``ell``) or an English name."""
    languages: dict[str, str] = dict(Locale("en").languages)
    for code, name in languages.items():
        if given.strip().casefold() == name.casefold():
            return code.replace("_", "-")
    parts = re.split("[-_]", re.split("[.@]", given.strip())[0])
    language = shortest_code(parts[0]).replace("_", "-")
    if primary_language(language) not in known_languages():
        return ""
    case = {2: str.upper, 3: str.upper, 4: str.title}
    code = "-".join([language, *(case.get(len(part), str.lower)(part) for part in parts[1:])])
    return code if _CODE.fullmatch(code) else language


LanguageCode = Annotated[str, AfterValidator(check_language)]


def primary_language(code: str) -> str:
    """Return a code's language without script, region and variants: ``zh`` for ``zh-Hant``."""
    return re.split("[-_]", code)[0].lower()


def shortest_code(label: str) -> str:
    """Return the shortest ISO 639 code of a label's language: ``el`` for ``ell_Grek``."""
    language = primary_language(label)
    aliases: Mapping[str, str] = get_global("language_aliases")
    return aliases.get(language, language)


@functools.cache
def language_name(code: str, display: str = "en") -> str:
    """Return the name of a language, ``Greek`` for ``el``; the code itself when CLDR has none."""
    try:
        name = Locale(display).languages.get(parse_locale(code.replace("-", "_"))[0])
    except (UnknownLocaleError, ValueError):
        name = None
    return name or code
