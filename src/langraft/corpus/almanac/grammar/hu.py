"""Hungarian: the article by sound, months in the inessive."""

from __future__ import annotations

_VOWELS = "aáeéiíoóöőuúüű"
_LETTERS_WITH_VOWEL_NAMES = "AEFILMNORSUXY"
_WITH_ARTICLE = ("-szigetek", "Köztársaság", "Királyság", "Államok", "Emírségek", "Vatikán")


def inflect(kind: str, key: str, name: str, form: str) -> str:
    """Return a Hungarian name: ``the`` (a or az before it), ``in`` (-ban, -ben) or ``plain``."""
    if form == "the":
        if kind == "country" and (not name.endswith(_WITH_ARTICLE) or " és " in name):
            return name
        return f"{_article(kind, key, name)} {name}"
    if kind == "month" and form == "in":
        return name + ("ben" if name.endswith("ber") else "ban")
    if kind == "number" and form == "plain":
        return key
    if kind == "number" and form == "plain_the":
        return f"{_article(kind, key, key)} {key}"
    if form:
        raise ValueError(f"Hungarian has no form {form!r} of a {kind}")
    return name


def _article(kind: str, key: str, name: str) -> str:
    """Return "az" before a vowel as it is spoken: az 5 (öt), az 1 200 (ezer), az FJD (ef)."""
    if kind == "number":
        is_vowel = key[0] == "5" or (key[0] == "1" and len(key) % 3 == 1)
    elif kind == "code":
        is_vowel = key[0] in _LETTERS_WITH_VOWEL_NAMES
    elif kind == "quarter":
        is_vowel = key == "1"
    else:
        is_vowel = name[0].lower() in _VOWELS
    return "az" if is_vowel else "a"
