"""Rows of csv and tsv files with a header, one row in memory at a time.

Python's csv module parses them, strictly: a quote that is never closed, or closed in the middle of
a field, is an error. Only the line where such a row begins is lost. The lines after it that the
open quote had swallowed are read again, each as a row of its own, so no line is parsed more than
twice.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator

from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError
from langraft.corpus.reading.lines import LONGEST_LINE_BYTES, NumberedText, decoded_lines
from langraft.corpus.reading.records import Invalid, broken_record, missing_column

_Row = tuple[int, "list[str] | BrokenRecord"]


def table_rows(
    address: str, kind: str, encoding: str = "utf-8"
) -> tuple[list[str], Iterator[tuple[int, dict[str, str] | BrokenRecord]]]:
    """Return the names in the header, and an iterator of (number of the row's first line, row).

    Args:
        address: Path or address.
        kind: ``.csv`` or ``.tsv``. The columns of a csv are divided by commas; when its header has
            no comma, but semicolons, tabs or bars divide it into several columns, by those.
        encoding: Of the text.

    Raises:
        CorpusError: when the header cannot be parsed or has a name twice.
    """
    csv.field_size_limit(LONGEST_LINE_BYTES)  # of the whole process; the default is 128 Ki
    lines = _Lines(decoded_lines(address, encoding))
    delimiter = "\t" if kind == ".tsv" else _delimiter(lines.peek())
    rows = _rows(lines, address, delimiter)
    _, header = next(rows, (0, list[str]()))
    if isinstance(header, BrokenRecord):
        raise CorpusError(
            f"{address}: the header (line {header.line}) cannot be read: {header.reason}. The "
            "first line of a table names its columns."
        )
    names = [name.strip() for name in header]
    for name in names:
        if names.count(name) > 1:
            raise CorpusError(
                f"{address}: its header names the column {name!r} twice. Rename one of them."
            )
    return names, _records(rows, names, address)


def table_column(
    address: str, kind: str, column: str, encoding: str = "utf-8"
) -> Iterator[tuple[int, str | BrokenRecord]]:
    """Yield (number of the row's first line, what stands in a column) row by row.

    Raises:
        CorpusError: when there is no such column; also as ``table_rows``.
    """
    names, records = table_rows(address, kind, encoding)
    if column not in names:
        first = (record for _, record in records if isinstance(record, dict))
        raise missing_column(address, column, names, first)
    for number, record in records:
        yield number, record if isinstance(record, BrokenRecord) else record[column]


class _Lines:
    """Numbered lines, of which some can be put back to be read again."""

    def __init__(self, lines: Iterator[NumberedText]) -> None:
        self._lines = lines
        self._again: deque[NumberedText] = deque()

    def next(self) -> NumberedText | None:
        return self._again.popleft() if self._again else next(self._lines, None)

    def peek(self) -> str:
        """Return the first line, '' when it is broken or there is none."""
        first = self.next()
        if first is not None:
            self._again.append(first)
        return first[1] if first is not None and isinstance(first[1], str) else ""

    def put_back(self, lines: list[NumberedText]) -> None:
        self._again.extendleft(reversed(lines))


def _delimiter(header: str) -> str:
    if "," not in header:
        for delimiter in (";", "\t", "|"):
            if len(next(csv.reader([header], delimiter=delimiter), [])) > 1:
                return delimiter
    return ","


def _rows(lines: _Lines, address: str, delimiter: str) -> Iterator[_Row]:
    """Yield the rows, blank lines left out, each with the number of its first line."""
    num_singles = 0  # lines to be read each as a row of its own
    while True:
        taken: list[NumberedText] = []
        num_lines = 1 if num_singles else None
        try:
            row = next(csv.reader(_take(lines, taken, num_lines), delimiter=delimiter, strict=True))
        except StopIteration:  # no line left, or a broken one
            row = []
        except csv.Error as error:
            lines.put_back(taken[1:])
            num_singles = max(num_singles - 1, 0) + (0 if num_lines else len(taken) - 1)
            number, line = taken[0]
            reason = f"invalid row: {_shorter(str(error))}"
            yield number, broken_record(Invalid(reason), address, number, str(line))
            continue
        num_singles = max(num_singles - 1, 0)
        if not taken:
            return
        number, line = taken[0]
        if isinstance(line, BrokenRecord):
            yield number, line
        elif row:
            yield number, row


def _take(lines: _Lines, taken: list[NumberedText], num_lines: int | None) -> Iterator[str]:
    """Yield the lines of one row as the parser asks for them, and note them in ``taken``.

    Ends after ``num_lines``, at 16 Mi characters, and at a broken line, which is put back unless it
    comes first; the parser takes an end inside quotes for an error.
    """
    num_characters = 0
    while num_lines is None or len(taken) < num_lines:
        found = lines.next()
        if found is None:
            return
        if isinstance(found[1], BrokenRecord) and taken:
            lines.put_back([found])
            return
        taken.append(found)
        if isinstance(found[1], BrokenRecord):
            return
        num_characters += len(found[1]) + 1
        if num_characters > LONGEST_LINE_BYTES:
            return
        yield found[1] + "\n"


def _shorter(error: str) -> str:
    """Say what the csv module says in words that can be counted."""
    if error.startswith("unexpected end of data"):
        return "a quote is not closed"
    if "expected after" in error:
        return "text after a closing quote"
    return error.partition(" - ")[0]


def _records(
    rows: Iterator[_Row], names: list[str], address: str
) -> Iterator[tuple[int, dict[str, str] | BrokenRecord]]:
    for number, row in rows:
        if isinstance(row, BrokenRecord):
            yield number, row
        elif len(row) != len(names):
            reason = f"{len(row)} columns where the header has {len(names)}"
            yield number, broken_record(Invalid(reason), address, number, "|".join(row))
        else:
            yield number, dict(zip(names, row, strict=True))
