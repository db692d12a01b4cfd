"""Hindi: names stay as they are before a postposition; small ordinals are irregular."""

from __future__ import annotations

_ORDINALS = {"1": "पहला", "2": "दूसरा", "3": "तीसरा", "4": "चौथा", "6": "छठा"}


def inflect(kind: str, key: str, name: str, form: str) -> str:
    """Return a Hindi name in a form: ``ord`` (तीसरा), ``plain`` (2024) or none."""
    if kind == "number" and form == "ord":
        return _ORDINALS.get(key, f"{name}वाँ")
    if kind == "number" and form == "plain":
        return key
    if form:
        raise ValueError(f"Hindi has no form {form!r} of a {kind}")
    return name
