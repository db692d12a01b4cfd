"""Records of jsonl and parquet files: parses a line into an object, takes a text from it."""

from __future__ import annotations

import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError
from langraft.corpus.reading.addresses import path_or_address
from langraft.corpus.reading.encodings import is_encodable
from langraft.corpus.reading.lines import decoded_lines

EMPTY_RECORD, EMPTY_FILE = "empty record", "empty file"
EMPTY = (EMPTY_RECORD, EMPTY_FILE)  # reasons of broken records with which nothing is lost
_PROPOSED_FROM = 100  # records, in which a column of text is looked for
_REPEATED = 10  # records with the same value, on average, from which on it is no text
_URL = re.compile(r"\s*\S+://\S+\s*")
_UNSPACED = re.compile(r"[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u9fff]")  # Thai to Han


class Invalid(NamedTuple):
    """Why a value is not a valid text or record; the reason is short, so that it can be counted."""

    reason: str


def json_records(
    address: str, encoding: str = "utf-8"
) -> Iterator[tuple[int, dict[str, Any] | BrokenRecord, str]]:
    """Yield (line number, object, the line); blank lines are skipped."""
    for line, text in decoded_lines(address, encoding):
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
    return whole_text(record[key], key)


def as_text(value: object, key: str) -> str | Invalid:
    """Return a value if it is a text that is not blank and can be encoded as UTF-8."""
    if isinstance(value, UnicodeDecodeError):
        return Invalid("invalid UTF-8")
    if not isinstance(value, str):
        return Invalid(f"the value of {key!r} is not a text")
    if not value.strip():
        return Invalid("empty text")
    return value if is_encodable(value) else Invalid("half a surrogate pair in the text")


def whole_text(value: object, key: str) -> str | Invalid:
    """As ``as_text``, of a record that is this text: blank or null, it is empty."""
    is_empty = value is None or (isinstance(value, str) and not value.strip())
    return Invalid(EMPTY_RECORD) if is_empty else as_text(value, key)


def encodable(text: str) -> str:
    """Return a text with halves of surrogate pairs, and bytes that are not UTF-8, as escapes."""
    return text.encode(errors="backslashreplace").decode()


def broken_record(invalid: Invalid, address: str, line: int, shown: str) -> BrokenRecord:
    """Make a broken record of the reason and the first 80 characters of ``shown``."""
    reason, excerpt = encodable(invalid.reason), encodable(shown[:80])
    path = path_or_address(address)
    return BrokenRecord(reason=reason, path=path, line=line, excerpt=excerpt)


def likely_text_key(records: Iterable[Mapping[str, object]]) -> str | None:
    """Return the key whose values look most like text in the first 100 records, or None.

    That is the key with the most text, of those of whose values at least half are text: words, not
    an address, a number or a name without spaces, and not the same few over and over. Marked-up
    text counts half, as the same may stand beside it without marks. None, too, where most of the
    text is inside lists and mappings: what stands beside a conversation is its name, not its text.
    """
    given: defaultdict[str, list[object]] = defaultdict(list)
    for record in itertools.islice(records, _PROPOSED_FROM):
        for key, value in record.items():
            if value is not None and value != "":
                given[key].append(value)
    lengths: dict[str, int] = {}
    num_nested = 0
    for key, values in given.items():
        num_nested = max(num_nested, sum(map(_nested_length, values)))
        texts = [value for value in values if isinstance(value, str) and _is_prose(value)]
        if len(texts) * 2 >= len(values) and len(set(texts)) * _REPEATED > len(texts):
            lengths[key] = sum(len(text) // (2 if "</" in text else 1) for text in texts)
    likeliest = max(lengths, key=lengths.__getitem__, default=None)
    return likeliest if likeliest is not None and lengths[likeliest] >= num_nested else None


def _nested_length(value: object) -> int:
    """Return the characters of prose inside a list or mapping; 0 of what is neither."""
    if isinstance(value, Mapping):
        inside: Iterable[object] = cast("Mapping[object, object]", value).values()
    elif isinstance(value, list):
        inside = cast("list[object]", value)
    else:
        return 0
    return sum(
        (len(each) if _is_prose(each) else 0) if isinstance(each, str) else _nested_length(each)
        for each in inside
    )


def missing_column(
    address: str,
    column: str,
    names: Sequence[str],
    records: Iterable[Mapping[str, object]],
    setting: str = "text_key",
) -> CorpusError:
    """Return the error for a file without a column, with the one that looks like text.

    Args:
        address: The file.
        column: What it lacks.
        names: What it has.
        records: Its first records, to propose another column of text.
        setting: The recipe's key that names the column.
    """
    likely = likely_text_key(records) if setting == "text_key" else None
    proposal = f"; {likely!r} looks like text (set `{setting}: {likely}`)" if likely else ""
    return CorpusError(
        f"{address}: no column {column!r} ({setting}){proposal}; the file has: "
        f"{encodable(', '.join(names)[:500])}."
    )


def _is_prose(value: str) -> bool:
    if _URL.fullmatch(value):
        return False
    letters = sum(1 for character in value[:1000] if character.isalpha() or ord(character) > 0x2FF)
    written = sum(1 for character in value[:1000] if not character.isspace())
    has_words = len(value.split(maxsplit=1)) > 1 or _UNSPACED.search(value) is not None
    return has_words and letters * 2 > written
