"""Texts of one file of any kind that holds one text a line, a row or a record."""

from __future__ import annotations

from collections.abc import Iterator

from langraft.core.document import BrokenRecord
from langraft.corpus.reading.addresses import is_empty
from langraft.corpus.reading.columns import rows
from langraft.corpus.reading.lines import Found, decoded_lines
from langraft.corpus.reading.records import Wrong, as_text, broken, json_records, text_under


def texts(address: str, kind: str, text_key: str) -> Iterator[Found]:
    """Yield (line or row, text that is more than blanks or a broken record).

    Args:
        address: Path or address.
        kind: ``.parquet``, ``.txt`` (a text is a line), or one of JSON objects line by line.
        text_key: Column or key of the text; the recipe's key has the same name.

    Raises:
        CorpusError: when the file is damaged or has no such column.
    """
    if is_empty(address):
        yield 0, broken(Wrong("empty file"), address, 0, "")
    elif kind == ".parquet":
        for row, (value,) in enumerate(rows(address, [text_key], "text_key"), start=1):
            text = as_text(value, text_key)
            if isinstance(text, Wrong):
                yield row, broken(text, address, row, repr(value))
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
            if isinstance(text, Wrong):
                yield line, broken(text, address, line, written)
            else:
                yield line, text
