"""Records of jsonl and parquet files: an object from a line, a text from an object."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from langraft.core.document import BrokenRecord
from langraft.corpus.reading.addresses import place
from langraft.corpus.reading.lines import decoded_lines


class Wrong(NamedTuple):
    """Why something is no text or no record: short and countable."""

    reason: str


def json_records(address: str) -> Iterator[tuple[int, dict[str, Any] | BrokenRecord, str]]:
    """Yield (line number, object, the line); blank lines are passed over."""
    for line, text in decoded_lines(address):
        if isinstance(text, BrokenRecord):
            yield line, text, ""
            continue
        record = parse_object(text)
        if not isinstance(record, Wrong):
            yield line, record, text
        elif text.strip():
            yield line, broken(record, address, line, text), text


def parse_object(text: str) -> dict[str, Any] | Wrong:
    """Return the JSON object in a line, or what stands there instead."""
    try:
        record: Any = json.loads(text)
    except (ValueError, RecursionError):  # ValueError: also a number of too many digits
        return Wrong("invalid JSON")
    return record if isinstance(record, dict) else Wrong("not a JSON object")


def text_under(record: Mapping[str, Any], key: str, setting: str) -> str | Wrong:
    """Return the text under a key, which a recipe gives as ``setting``."""
    if key not in record:
        keys = ", ".join(sorted(str(key) for key in record))
        return Wrong(f"no key {key!r} ({setting}); the record has: {keys[:200]}")
    return as_text(record[key], key)


def as_text(value: object, key: str) -> str | Wrong:
    """Return a value that is a text which UTF-8 can write and is more than blanks."""
    if isinstance(value, UnicodeDecodeError):
        return Wrong("invalid UTF-8")
    if not isinstance(value, str):
        return Wrong(f"the value of {key!r} is not a text")
    if not value.strip():
        return Wrong("empty text")
    try:
        value.encode()
    except UnicodeEncodeError:
        return Wrong("half a surrogate pair in the text")
    return value


def broken(wrong: Wrong, address: str, line: int, shown: str) -> BrokenRecord:
    """Return what is wrong as a broken record, with the beginning of what stood there."""
    excerpt = shown[:80].encode(errors="backslashreplace").decode()
    return BrokenRecord(reason=wrong.reason, path=place(address), line=line, excerpt=excerpt)
