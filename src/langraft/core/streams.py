"""Streams: the parts of a corpus that a mixture weights, each written to its own shards.

el          all text in Greek
el/wiki     its text from the source with the label ``wiki``
en+el       sentence pairs in both languages
*/wiki      in a mixture: every language's text from that source
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from langraft.core.language import check_language, language_name

ANY_LANGUAGE = "*"
_LABEL = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_FILE_ENDINGS = (".json", ".jsonl", ".npy")  # of langraft's own files in the folder of a stream


def check_stream(name: str) -> str:
    """Return the name of a stream if it is valid.

    Raises:
        ValueError: for anything that is not ``el``, ``el/wiki``, ``en+el`` or ``*/wiki``.
    """
    language, slash, label = name.partition("/")
    if slash and not re.fullmatch(_LABEL, label):
        raise ValueError(f"{label!r:.200} is not a label of a source; expected el/wiki or */wiki")
    if language == ANY_LANGUAGE and slash:
        return name
    for code in language.split("+"):
        check_language(code)
    if language.count("+") > 1:
        raise ValueError("a pair has two languages, such as en+el")
    return name


StreamName = Annotated[str, AfterValidator(check_stream)]


def _check_label(label: str) -> str:
    if not re.fullmatch(_LABEL, label):
        raise ValueError("a label is letters, digits, dots and hyphens, 100 at most, such as wiki")
    if label.casefold().endswith(_FILE_ENDINGS):
        raise ValueError(
            f"a label names a folder beside langraft's own files, so it cannot end in "
            f"{', '.join(_FILE_ENDINGS)}"
        )
    return label


Label = Annotated[str, AfterValidator(_check_label)]


def languages_of(stream: str) -> tuple[str, ...]:
    """Return the languages of a stream: none for ``*/wiki``, two for a pair."""
    language = stream.partition("/")[0]
    return () if language == ANY_LANGUAGE else tuple(language.split("+"))


def pair(first: str, second: str) -> str:
    """Return the name of the stream of sentence pairs in two languages."""
    return f"{first}+{second}"


def stream_name(stream: str) -> str:
    """Return the display name of a stream: ``Greek``, ``Greek, wiki``, ``English + Greek``."""
    _, slash, label = stream.partition("/")
    words = " + ".join(language_name(code) for code in languages_of(stream)) or "all languages"
    return f"{words}, {label}" if slash else words
