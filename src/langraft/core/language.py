"""Languages: their codes, their names and what a run wants of them."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from babel import Locale, UnknownLocaleError
from babel.core import get_global, parse_locale
from pydantic import AfterValidator

Role = Literal["original", "new", "transfer"]


_EXPECTED = "expected a language code such as en, el, sw or zh-Hant (BCP 47)"
# language, script, region, variants; as BCP 47 writes them, or with _ as many data sets do
_CODE = re.compile(
    r"[a-z]{2,3}([-_][A-Z][a-z]{3})?([-_]([A-Z]{2}|[0-9]{3}))?([-_]([0-9a-z]{5,8}|[0-9][0-9a-z]{3}))*"
)


def check_language(code: str) -> str:
    """Return the code when it is written as BCP 47 writes it and CLDR knows the language.

    CLDR has English names of about 650 languages, and says of 7000 more in which script they are
    written; both kinds are known. A code is also the name of a stream and of a folder, so one
    language has one spelling: ``el``, not ``ell``, ``EL`` or ``greek``.

    Raises:
        ValueError: for anything else, with the code that is probably meant.
    """
    if _CODE.fullmatch(code) and _language(code) in _known_languages():
        return code
    meant = _meant(code)
    hint = f"; did you mean {meant!r}?" if meant and meant != code else ""
    raise ValueError(f"{_EXPECTED}{hint}")


def _language(code: str) -> str:
    return re.split("[-_]", code)[0]


@functools.cache
def _known_languages() -> frozenset[str]:
    scripts: Mapping[str, str] = get_global("likely_subtags")
    return frozenset(Locale("en").languages) | {_language(code) for code in scripts}


def _meant(given: str) -> str:
    """Guess the code from a locale (``zh_CN.UTF-8``), ISO 639-3 (``ell``) or an English name."""
    languages: dict[str, str] = dict(Locale("en").languages)
    for code, name in languages.items():
        if given.strip().casefold() == name.casefold():
            return code.replace("_", "-")
    parts = re.split("[-_]", re.split("[.@]", given.strip())[0])
    aliases: Mapping[str, str] = get_global("language_aliases")
    language = aliases.get(parts[0].lower(), parts[0].lower()).replace("_", "-")
    if _language(language) not in _known_languages():
        return ""
    case = {2: str.upper, 3: str.upper, 4: str.title}
    code = "-".join([language, *(case.get(len(part), str.lower)(part) for part in parts[1:])])
    return code if _CODE.fullmatch(code) else language


LanguageCode = Annotated[str, AfterValidator(check_language)]


@functools.cache
def language_name(code: str, display: str = "en") -> str:
    """Return the name of a language, ``Greek`` for ``el``; the code itself when CLDR has none."""
    try:
        name = Locale(display).languages.get(parse_locale(code.replace("-", "_"))[0])
    except (UnknownLocaleError, ValueError):
        name = None
    return name or code
