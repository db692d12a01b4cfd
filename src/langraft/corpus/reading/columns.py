"""Columns of parquet files, read batch by batch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from langraft.corpus.reading.addresses import is_remote, open_raw
from langraft.corpus.reading.compression import damage_error
from langraft.corpus.reading.optional_packages import import_extra
from langraft.corpus.reading.paths import read_error
from langraft.corpus.reading.records import missing_column

_BATCH_ROWS = 1024
_FIRST_ROWS = 100
_TEXT_TYPES = ("string", "large_string", "string_view")


def column_names(address: str) -> list[str]:
    """Return the names of a parquet file's columns.

    Raises:
        CorpusError: when the file is damaged.
    """
    with _opened(address, lambda: 0) as file:
        return list(file.schema_arrow.names)


def rows(address: str, columns: Sequence[str], setting: str) -> Iterator[tuple[Any, ...]]:
    """Yield the values of some columns row by row; a value that is not UTF-8 is its error.

    Args:
        address: A parquet file.
        columns: Names of the columns.
        setting: The recipe's key that names them, for the message.

    Raises:
        CorpusError: when the file is damaged or lacks a column.
    """
    row = 0
    with _opened(address, lambda: row) as file:
        names: list[str] = file.schema_arrow.names
        for column in columns:
            if column not in names:
                raise missing_column(address, column, names, _first_records(file), setting)
        for batch in file.iter_batches(columns=list(columns), batch_size=_BATCH_ROWS):
            read = [list(values(batch.column(column))) for column in columns]
            for found in zip(*read, strict=True):
                row += 1
                yield found


def first_records(address: str) -> list[dict[str, Any]]:
    """Return the first 100 rows of a parquet file, of columns of text only.

    Raises:
        CorpusError: when the file is damaged.
    """
    with _opened(address, lambda: 0) as file:
        return _first_records(file)


def _first_records(file: Any) -> list[dict[str, Any]]:
    names = [field.name for field in file.schema_arrow if str(field.type) in _TEXT_TYPES]
    batch = next(file.iter_batches(columns=names, batch_size=_FIRST_ROWS), None)
    if batch is None:
        return []
    read = [values(batch.column(name)) for name in names]
    return [dict(zip(names, found, strict=True)) for found in zip(*read, strict=True)]


def values(column: Any) -> Iterator[Any]:
    """Yield the values of an Arrow column, or the error where one is not UTF-8."""
    try:
        yield from column.to_pylist()
    except UnicodeDecodeError:  # a value of the batch: convert them one by one
        for scalar in column:
            try:
                yield scalar.as_py()
            except UnicodeDecodeError as error:
                yield error


@contextlib.contextmanager
def _opened(address: str, rows_read: Callable[[], int]) -> Generator[Any, None, None]:
    parquet = import_extra("pyarrow.parquet", "pyarrow", f"Reading {address}")
    arrow = import_extra("pyarrow", "pyarrow", f"Reading {address}")
    if not is_remote(address):
        open_raw(address).close()  # says what the system refuses, which Arrow calls damage
    try:
        with (
            (
                contextlib.nullcontext(address) if not is_remote(address) else open_raw(address)
            ) as stored,
            parquet.ParquetFile(stored) as file,
        ):
            yield file
    except (arrow.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's, not the parser's
            raise read_error(address, error) from error
        raise damage_error(address, f"row {rows_read()}", error) from error
