"""Texts of a file that holds one text per line, row or record."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from langraft.core.document import BrokenRecord
from langraft.corpus.reading.addresses import file_kind, is_empty
from langraft.corpus.reading.columns import first_records, rows
from langraft.corpus.reading.encodings import UTF8
from langraft.corpus.reading.lines import NumberedText, check_utf8, decoded_lines
from langraft.corpus.reading.records import (
    EMPTY_FILE,
    Invalid,
    broken_record,
    json_records,
    likely_text_key,
    missing_column,
    text_under,
    whole_text,
)
from langraft.corpus.reading.tables import table_column, table_rows

KINDS = (".jsonl", ".ndjson", ".txt", ".parquet", ".csv", ".tsv")
_TABLES = (".csv", ".tsv")
_CHECKED_RECORDS = 100


def read_texts(
    address: str, kind: str, text_key: str, encoding: str = "utf-8"
) -> Iterator[NumberedText]:
    """Yield (line or row number, text or broken record); blank lines are skipped.

    Args:
        address: Path or address.
        kind: ``.parquet``, ``.csv``, ``.tsv``, ``.txt`` (a text per line), or a suffix of JSON
            lines.
        text_key: Column or key of the text; the recipe's key has the same name.
        encoding: Of all but parquet, as ``check_encoding`` returns it.

    Raises:
        CorpusError: when the file is damaged, in the main in another encoding, or lacks the column.
    """
    if is_empty(address):
        yield 0, broken_record(Invalid(EMPTY_FILE), address, 0, "")
    elif kind == ".parquet":
        for row, (value,) in enumerate(rows(address, [text_key], "text_key"), start=1):
            yield row, _text_or_broken(whole_text(value, text_key), address, row, value)
    elif kind in _TABLES:
        for line, cell in table_column(address, kind, text_key, encoding):
            if isinstance(cell, BrokenRecord):
                yield line, cell
            else:
                yield line, _text_or_broken(whole_text(cell, text_key), address, line, cell)
    elif kind == ".txt":
        for line, text in decoded_lines(address, encoding):
            if isinstance(text, BrokenRecord) or text.strip():
                yield line, text
    else:
        for line, record, written in json_records(address, encoding):
            if isinstance(record, BrokenRecord):
                yield line, record
                continue
            text = text_under(record, text_key, "text_key")
            yield line, _text_or_broken(text, address, line, written)


def check_texts(address: str, kind: str, text_key: str, encoding: str = "utf-8") -> None:
    """Read the beginning of a file and refuse what is wrong with the whole of it.

    Raises:
        CorpusError: as ``read_texts``; also when more than half of the first lines are not UTF-8,
            or no record of the first 100 of a jsonl file has the key.
    """
    if is_empty(address):
        return
    if kind != ".parquet" and encoding in UTF8:
        check_utf8(address)
    if kind in (".parquet", ".txt", *_TABLES):
        next(read_texts(address, kind, text_key, encoding), None)
        return
    records = list(itertools.islice(_objects(address, encoding), _CHECKED_RECORDS))
    if records and not any(text_key in record for record in records):
        names = list(dict.fromkeys(name for record in records for name in record))
        raise missing_column(address, text_key, names, records)


def propose_text_column(address: str, encoding: str = "utf-8") -> str | None:
    """Return the column or key whose values look most like text in the first 100 records.

    Args:
        address: A file of a kind that the source ``files`` reads.
        encoding: Of all but parquet.

    Returns:
        A name for ``text_key``; None for .txt, which has no columns, and when no column is text.

    Raises:
        CorpusError: when the file is missing, damaged or in the main in another encoding.
    """
    kind = file_kind(address, KINDS)
    if kind in (None, ".txt") or is_empty(address):
        return None
    if kind == ".parquet":
        return likely_text_key(first_records(address))
    if kind in _TABLES:
        found = table_rows(address, kind, encoding)[1]
        return likely_text_key(record for _, record in found if isinstance(record, dict))
    return likely_text_key(_objects(address, encoding))


def _objects(address: str, encoding: str) -> Iterator[dict[str, Any]]:
    for _, record, _ in json_records(address, encoding):
        if isinstance(record, dict):
            yield record


def _text_or_broken(
    text: str | Invalid, address: str, number: int, written: object
) -> str | BrokenRecord:
    if not isinstance(text, Invalid):
        return text
    shown = written if isinstance(written, str) else repr(written)
    return broken_record(text, address, number, shown)
