"""English: articles of countries, ordinals, plain years."""

from __future__ import annotations

_WITH_ARTICLE = "AE BS CF DO GB GM KM MH MV NL PH SB SC US"


def inflect(kind: str, key: str, name: str, form: str) -> str:
    """Return an English name in a form: ``ord`` (3rd), ``plain`` (2024) or none."""
    if kind == "country":
        name = name.replace("&", "and").replace("St ", "Saint ")
        return f"the {name}" if key in _WITH_ARTICLE.split() else name
    if kind == "currency":
        *origin, unit = name.replace("&", "and").split()
        return " ".join([*origin, unit.lower()])
    if kind == "number" and form == "ord":
        number = int(key)
        is_teen = number % 100 in (11, 12, 13)
        return name + ("th" if is_teen else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th"))
    if kind == "number" and form == "plain":
        return key
    if form:
        raise ValueError(f"English has no form {form!r} of a {kind}")
    return name
