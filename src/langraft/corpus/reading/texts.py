"""Texts of a file that holds one text per line, row or record."""

from __future__ import annotations

from collections.abc import Iterator

from langraft.core.document import BrokenRecord
from langraft.corpus.reading.addresses import is_empty
from langraft.corpus.reading.columns import rows
from langraft.corpus.reading.lines import NumberedText, decoded_lines
from langraft.corpus.reading.records import (
    Invalid,
    as_text,
    broken_record,
    json_records,
    text_under,
)


def read_texts(address: str, kind: str, text_key: str) -> Iterator[NumberedText]:
    """Yield (line or row number, text or broken record); blank lines are skipped.

    Args:
        address: Path or address.
        kind: ``.parquet``, ``.txt`` (a text per line), or a suffix of JSON lines.
        text_key: Column or key of the text; the recipe's key has the same name.

    Raises:
        CorpusError: when the file is damaged or lacks the column.
    """
    if is_empty(address):
        yield 0, broken_record(Invalid("empty file"), address, 0, "")
    elif kind == ".parquet":
        for row, (value,) in enumerate(rows(address, [text_key], "text_key"), start=1):
            text = as_text(value, text_key)
            if isinstance(text, Invalid):
                yield row, broken_record(text, address, row, repr(value))
            else:
                yield row, text
    elif kind == ".txt":
        for line, text in decoded_lines(address):
            if isinstance(text, BrokenRecord) or text.strip():
                yield line, text
    else:
        for line, record, written in json_records(address):
            if isinstance(record, BrokenRecord):
                yield line, record
                continue
            text = text_under(record, text_key, "text_key")
            if isinstance(text, Invalid):
                yield line, broken_record(text, address, line, written)
            else:
                yield line, text
