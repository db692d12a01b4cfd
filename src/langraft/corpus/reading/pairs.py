"""Sentence pairs from tsv, jsonl, parquet and TMX files, or from two aligned text files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, NamedTuple

from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError
from langraft.core.language import primary_language
from langraft.corpus.reading.addresses import is_remote
from langraft.corpus.reading.columns import column_names, rows
from langraft.corpus.reading.lines import count_lines, decoded_lines
from langraft.corpus.reading.records import Invalid, as_text, json_records
from langraft.corpus.reading.tmx import translation_units

_NESTED = "translation"  # OPUS data sets on the hub: {"translation": {"en": …, "el": …}}


class RawPair(NamedTuple):
    """A sentence pair as read, valid or not.

    Attributes:
        number: Line, row or unit, from 1.
        first: Text in the first language, or why it is invalid.
        second: The same in the second language.
        shown: What to show when the pair is broken.
    """

    number: int
    first: str | Invalid
    second: str | Invalid
    shown: str


def aligned_lines(first: str, second: str) -> Iterator[RawPair]:
    """Yield the lines of two files as pairs; lines that are blank in both are skipped.

    The lines of local files are counted first, so that a budget which stops reading early does not
    hide that a line is missing. Remote files would have to be downloaded twice for that; they are
    compared at their end.

    Raises:
        CorpusError: when their numbers of lines differ.
    """
    if not is_remote(first) and not is_remote(second):
        _compare(first, count_lines(first), second, count_lines(second))
    counts = [0, 0]
    for number, sides in enumerate(zip_longest(_lines(first), _lines(second)), start=1):
        one, other = sides
        counts = [count + (side is not None) for count, side in zip(counts, sides, strict=True)]
        if one is None or other is None or one == other == "":
            continue
        shown = " | ".join(side for side in sides if isinstance(side, str))
        yield RawPair(number, one or Invalid("empty text"), other or Invalid("empty text"), shown)
    _compare(first, counts[0], second, counts[1])


def tsv_pairs(address: str, columns: tuple[int | str, int | str]) -> Iterator[RawPair]:
    """Yield two columns of a file of tab-separated values; quotes have no special meaning.

    Args:
        address: The file.
        columns: Numbers from 1, or names that the first line has.

    Raises:
        CorpusError: when the first line lacks a name.
    """
    lines = decoded_lines(address)
    indices = [int(column) - 1 for column in columns if isinstance(column, int)]
    if len(indices) < 2:
        _, header = next(lines, (0, ""))
        names = [] if isinstance(header, BrokenRecord) else header.split("\t")
        for column in columns:
            if column not in names:
                raise CorpusError(
                    f"{address}: no column {column!r} (keys) in its first line, which has: "
                    f"{', '.join(names)[:200]}. Without such a line, give numbers from 1."
                )
        indices = [names.index(str(column)) for column in columns]
    for number, line in lines:
        if isinstance(line, BrokenRecord):
            yield _invalid_pair(number, Invalid(line.reason), line.excerpt)
        elif line.strip():
            cells = line.split("\t")
            if len(cells) <= max(indices):
                yield _invalid_pair(number, Invalid("too few columns"), line)
            else:
                one, other = (as_text(cells[index], str(index + 1)) for index in indices)
                yield RawPair(number, one, other, line)


def jsonl_pairs(address: str, keys: tuple[str, str]) -> Iterator[RawPair]:
    """Yield the values under two keys of each line's object, or of its ``translation``."""
    for number, record, written in json_records(address):
        if isinstance(record, BrokenRecord):
            yield _invalid_pair(number, Invalid(record.reason), record.excerpt)
        else:
            yield _from_record(number, record, keys, written)


def parquet_pairs(address: str, keys: tuple[str, str]) -> Iterator[RawPair]:
    """Yield two columns of each row, or two fields of the column ``translation``.

    Raises:
        CorpusError: when the file has neither.
    """
    names = column_names(address)
    if _NESTED in names and not set(keys) <= set(names):
        for number, (nested,) in enumerate(rows(address, [_NESTED], "keys"), start=1):
            yield _from_record(number, {_NESTED: nested}, keys, repr(nested))
    else:
        for number, values in enumerate(rows(address, keys, "keys"), start=1):
            record = dict(zip(keys, values, strict=True))
            yield _from_record(number, record, keys, repr(record))


def tmx_pairs(address: str, languages: tuple[str, str]) -> Iterator[RawPair]:
    """Yield the segments of each unit in two languages, matching codes in any spelling.

    ``EN-us`` matches ``en``; a full match such as ``zh-Hans`` comes before one by language.
    """
    for number, unit in enumerate(translation_units(address), start=1):
        if unit.is_too_long:
            yield _invalid_pair(number, Invalid("segment longer than 16 Mi characters"), "")
            continue
        texts = {_normalized(code): text for code, text in reversed(unit.texts.items())}
        by_language = {primary_language(code): text for code, text in texts.items()}
        found = [
            texts.get(_normalized(code), by_language.get(primary_language(code)))
            for code in languages
        ]
        sides = [
            as_text(text, code) if text is not None else Invalid(f"no text in {code}")
            for text, code in zip(found, languages, strict=True)
        ]
        shown = f"line {unit.line}: {' | '.join(f'{c}: {t}' for c, t in unit.texts.items())}"
        yield RawPair(number, sides[0], sides[1], shown)


def _lines(address: str) -> Iterator[str | Invalid]:
    for _, line in decoded_lines(address):
        yield Invalid(line.reason) if isinstance(line, BrokenRecord) else line.strip()


def _compare(first: str, num_first: int, second: str, num_second: int) -> None:
    if num_first != num_second:
        raise CorpusError(
            f"{first} has {num_first} lines and {second} has {num_second}: from some line on they "
            "are not translations of each other. Download or align them again."
        )


def _from_record(
    number: int, record: Mapping[str, Any], keys: tuple[str, str], written: str
) -> RawPair:
    nested = record.get(_NESTED)
    if isinstance(nested, Mapping) and not set(keys) <= set(record):
        record = nested
    sides: list[str | Invalid] = []
    for key in keys:
        if record.get(key) in (None, ""):
            have = ", ".join(str(name) for name in record)
            sides.append(Invalid(f"no text under {key!r}"))
            written = f"the record has {have}"
        else:
            sides.append(as_text(record[key], key))
    return RawPair(number, sides[0], sides[1], written)


def _invalid_pair(number: int, invalid: Invalid, shown: str) -> RawPair:
    return RawPair(number, invalid, invalid, shown)


def _normalized(code: str) -> str:
    return code.replace("_", "-").lower()
