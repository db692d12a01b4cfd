"""Turkish: suffixes of proper names and the copula, by vowel harmony.

Forms: ``of`` (genitive), ``in`` (locative), ``is`` (copula), ``part`` (possessed percentage) and
``plain``.
"""

from __future__ import annotations

_VOWELS = "aıoueiöü"
_VOICELESS = "fstkçşhp"
_HIGH = {"a": "ı", "ı": "ı", "o": "u", "u": "u", "e": "i", "i": "i", "ö": "ü", "ü": "ü"}
_LOW = {"a": "a", "ı": "a", "o": "a", "u": "a", "e": "e", "i": "e", "ö": "e", "ü": "e"}

# Names whose spelling hides their sound, written so that the rules below come out right.
_SOUNDS_LIKE = {
    "Côte d’Ivoire": "kotdivuar",
    "Liechtenstein": "lihtenştayn",
    "Nepal": "nepel",
    "Senegal": "senegel",
    "metikal": "metikel",
    "real": "reel",
    "riyal": "riyel",
    "sol": "söl",
}

# Compounds that already end in a possessive suffix take -n- before a case.
_POSSESSED = ("Adaları", "Emirlikleri", "Cumhuriyeti", "Devletleri", "Ginesi")

_PERCENT = {
    "5": "i", "10": "u", "15": "i", "20": "si", "25": "i", "30": "u", "40": "ı", "50": "si",
    "60": "ı", "70": "i", "75": "i", "80": "i", "90": "ı",
}  # fmt: skip


def inflect(kind: str, key: str, name: str, form: str) -> str:
    """Return a Turkish name in one of the forms above."""
    name = _clean(kind, name)
    if not form:
        return name
    if kind == "country":
        return f"{name}’{_suffix(name, form)}"
    if form == "is":
        return name + _suffix(name, form)
    if kind == "percent" and form == "part":
        return f"{name}’{_PERCENT[key]}"
    if kind == "quarter" and form == "in":
        return f"{key}. çeyreğinde"
    if kind == "number" and form == "plain":
        return key
    raise ValueError(f"Turkish has no form {form!r} of a {kind}")


def _clean(kind: str, name: str) -> str:
    if kind in ("month", "weekday"):
        return lower(name)
    if kind == "currency" and name == "Euro":
        return "euro"
    return name


def _suffix(name: str, form: str) -> str:
    sound = lower(_SOUNDS_LIKE.get(name, name))
    for accented, plain in zip("âîûéáíóã", "aiueaioa", strict=True):
        sound = sound.replace(accented, plain)
    last_vowel = next(letter for letter in reversed(sound) if letter in _VOWELS)
    high, low = _HIGH[last_vowel], _LOW[last_vowel]
    hard = sound[-1] in _VOICELESS
    if form == "of":
        return f"n{high}n" if sound[-1] in _VOWELS else f"{high}n"
    if form == "in":
        if name.endswith(_POSSESSED):
            return f"nd{low}"
        return f"{'t' if hard else 'd'}{low}"
    if form == "is":
        return f"{'t' if hard else 'd'}{high}r"
    raise ValueError(f"Turkish has no form {form!r} of a noun")


def lower(text: str) -> str:
    """Return the text in lower case the Turkish way, with a dotted and a dotless i."""
    return text.replace("İ", "i").replace("I", "ı").lower()
