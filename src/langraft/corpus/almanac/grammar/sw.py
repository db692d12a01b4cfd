"""Swahili: common nouns in lower case, the first two ordinals."""

from __future__ import annotations

_ORDINALS = {"1": "kwanza", "2": "pili"}


def inflect(kind: str, key: str, name: str, form: str) -> str:
    """Return a Swahili name in a form: ``ord`` (pili), ``plain`` (2024) or none."""
    if kind in ("currency", "unit", "quarter"):
        name = name[0].lower() + name[1:]
    if kind == "number" and form == "ord":
        return _ORDINALS.get(key, name)
    if kind == "number" and form == "plain":
        return key
    if form:
        raise ValueError(f"Swahili has no form {form!r} of a {kind}")
    return name
