"""Records of jsonl and parquet files: parses a line into an object, takes a text from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from langraft.core.document import BrokenRecord
from langraft.corpus.reading.addresses import path_or_address
from langraft.corpus.reading.lines import decoded_lines


class Invalid(NamedTuple):
    """Why a value is not a valid text or record; the reason is short, so that it can be counted."""

    reason: str


def json_records(address: str) -> Iterator[tuple[int, dict[str, Any] | BrokenRecord, str]]:
    """Yield (line number, object, the line); blank lines are skipped."""
    for line, text in decoded_lines(address):
        if isinstance(text, BrokenRecord):
            yield line, text, ""
            continue
        record = parse_object(text)
        if not isinstance(record, Invalid):
            yield line, record, text
        elif text.strip():
            yield line, broken_record(record, address, line, text), text


def parse_object(text: str) -> dict[str, Any] | Invalid:
    """Parse a line as a JSON object."""
    try:
        record: Any = json.loads(text)
    except (ValueError, RecursionError):  # ValueError also for numbers of too many digits
        return Invalid("invalid JSON")
    return record if isinstance(record, dict) else Invalid("not a JSON object")


def text_under(record: Mapping[str, Any], key: str, setting: str) -> str | Invalid:
    """Return the text under a key, which the recipe gives as ``setting``."""
    if key not in record:
        keys = ", ".join(sorted(str(key) for key in record))
        return Invalid(f"no key {key!r} ({setting}); the record has: {keys[:200]}")
    return as_text(record[key], key)


def as_text(value: object, key: str) -> str | Invalid:
    """Return a value if it is a text that is not blank and can be encoded as UTF-8."""
    if isinstance(value, UnicodeDecodeError):
        return Invalid("invalid UTF-8")
    if not isinstance(value, str):
        return Invalid(f"the value of {key!r} is not a text")
    if not value.strip():
        return Invalid("empty text")
    return value if is_encodable(value) else Invalid("half a surrogate pair in the text")


def is_encodable(text: str) -> bool:
    """Say whether a text has no half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def encodable(text: str) -> str:
    """Return a text with halves of surrogate pairs, and bytes that are not UTF-8, as escapes."""
    return text.encode(errors="backslashreplace").decode()


def broken_record(invalid: Invalid, address: str, line: int, shown: str) -> BrokenRecord:
    """Make a broken record of the reason and the first 80 characters of ``shown``."""
    reason, excerpt = encodable(invalid.reason), encodable(shown[:80])
    path = path_or_address(address)
    return BrokenRecord(reason=reason, path=path, line=line, excerpt=excerpt)
