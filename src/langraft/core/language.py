"""Languages: their codes, their names and what a run wants of them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from babel import Locale, UnknownLocaleError
from babel.core import parse_locale
from pydantic import AfterValidator

Role = Literal["original", "new", "transfer"]


def check_language(code: str) -> str:
    """Return the code when CLDR knows the language.

    Raises:
        ValueError: for anything that is not a language code such as ``el`` or ``zh_Hant``.
    """
    try:
        language = parse_locale(code.replace("-", "_"))[0]
    except ValueError:
        language = ""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", code):  # a locale may go on: el.UTF-8, el@euro
        language = ""
    if language not in Locale("en").languages:
        raise ValueError("expected a language code such as en, el, sw or zh-Hant")
    return code


LanguageCode = Annotated[str, AfterValidator(check_language)]


def language_name(code: str, display: str = "en") -> str:
    """Return the name of a language, ``Greek`` for ``el``; the code itself when CLDR has none."""
    try:
        name = Locale(display).languages.get(parse_locale(code.replace("-", "_"))[0])
    except (UnknownLocaleError, ValueError):
        name = None
    return name or code
