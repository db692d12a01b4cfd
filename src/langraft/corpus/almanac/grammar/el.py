"""Greek: the article and the case of a name.

Forms: none (a country with its article in the nominative, anything else bare), ``the`` (with the
article), ``of`` (genitive), ``acc`` (accusative), ``in`` (the article after "in") and ``bare``.
"""

# ruff: noqa: RUF003 - Greek letters that look like Latin ones

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

_NOMINATIVE = {"m": "ο", "f": "η", "n": "το", "fp": "οι", "np": "τα"}
_GENITIVE = {"m": "του", "f": "της", "n": "του", "fp": "των", "np": "των"}
_ACCUSATIVE = {"m": "τον", "f": "την", "n": "το", "fp": "τις", "np": "τα"}

# Before these sounds the feminine article keeps its final ν.
_VOWELS_AND_STOPS = "Α Ά Ε Έ Η Ή Ι Ί Ο Ό Υ Ύ Ω Ώ Κ Π Τ Ξ Ψ ΜΠ ΝΤ ΓΚ"

_FEMININE_UNITS = {"λίρα", "ρουπία", "κορόνα", "χρυσή", "κόρδοβα", "λεμπίρα", "νάιρα", "γρίβνα"}
_GENITIVE_MONTHS = {
    1: "Ιανουαρίου", 2: "Φεβρουαρίου", 3: "Μαρτίου", 4: "Απριλίου", 5: "Μαΐου", 6: "Ιουνίου",
    7: "Ιουλίου", 8: "Αυγούστου", 9: "Σεπτεμβρίου", 10: "Οκτωβρίου", 11: "Νοεμβρίου",
    12: "Δεκεμβρίου",
}  # fmt: skip


def inflect(kind: str, key: str, name: str, form: str) -> str:
    """Return a Greek name in one of the forms above."""
    if kind == "country":
        genders, genitives = _countries()
        return _noun(name, genders.get(key, "f"), form or "the", genitives.get(key, ""))
    if kind in ("currency", "unit"):
        name = _lower_currency(name)
        gender = "f" if name.split()[0] in _FEMININE_UNITS else "n"
        return _noun(name, gender, form or "bare")
    if kind == "language":
        return _noun(name[0].lower() + name[1:], "np", form or "bare")
    if kind == "month":
        return _noun(name, "m", form or "bare", _GENITIVE_MONTHS[int(key)])
    if kind == "weekday":
        return _noun(name, "n" if key == "5" else "f", form or "bare")
    if kind == "number" and form == "plain":
        return key
    if form:
        raise ValueError(f"Greek has no form {form!r} of a {kind}")
    return name


@cache
def _countries() -> tuple[dict[str, str], dict[str, str]]:
    """Return genders and genitives of country names by country code."""
    path = Path(__file__).with_name("el_countries.yaml")
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    genders = {code: gender for gender, codes in data["genders"].items() for code in codes}
    return genders, data["genitives"]


def _noun(name: str, gender: str, form: str, genitive: str = "") -> str:
    if form == "bare":
        return name
    if form == "the":
        return f"{_NOMINATIVE[gender]} {name}"
    if form == "of":
        return f"{_GENITIVE[gender]} {genitive or _genitive(name, gender)}"
    article = _ACCUSATIVE[gender]
    if gender == "f" and not name.upper().startswith(tuple(_VOWELS_AND_STOPS.split())):
        article = "τη"
    if form == "acc":
        return f"{article} {_accusative(name, gender)}"
    if form == "in":
        return f"σ{article} {_accusative(name, gender)}"
    raise ValueError(f"Greek has no form {form!r} of a noun")


def _genitive(name: str, gender: str) -> str:
    """Add the feminine -ς to every word that takes one; other genders are listed or unchanged."""
    if gender != "f":
        return name
    return " ".join(w + "ς" if w[-1] in "αάηή" else w for w in name.split(" "))


def _accusative(name: str, gender: str) -> str:
    """Drop the -ς of a masculine; feminines in -ος and islands change likewise."""
    if gender == "fp":
        return name.replace("Νήσοι", "Νήσους")
    if gender == "m" or (gender == "f" and name.endswith("ος")):
        words = name.split(" και ")
        words[0] = " ".join(w.removesuffix("ς") for w in words[0].split(" "))
        return " και τις ".join(words)
    return name


def _lower_currency(name: str) -> str:
    name = name.replace(" Στερλίνα", " στερλίνα").replace("Νέο Σέκελ", "νέο σέκελ")
    name = name.replace("Χρυσή Κόρδοβα", "χρυσή κόρδοβα")
    return name[0].lower() + name[1:]
