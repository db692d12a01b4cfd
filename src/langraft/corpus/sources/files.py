"""Text files on this machine: jsonl, txt or parquet, plain or compressed."""

from __future__ import annotations

import glob
import gzip
import importlib
import io
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from langraft.core.artifacts import fingerprint
from langraft.core.document import BrokenRecord, Document
from langraft.core.errors import CorpusError, MissingExtraError
from langraft.corpus.source import AbstractSource, Part, group_files

_KINDS = (".jsonl", ".txt", ".parquet")
_COMPRESSIONS = (".gz", ".zst")


class Files(AbstractSource):
    """Documents from files that a path with wildcards finds."""

    source: Literal["files"] = Field(default="files", description="Files on this machine.")
    path: str = Field(
        description="File, folder or glob; {language} stands for the language. Ends in .jsonl, "
        ".txt or .parquet, the first two also with .gz or .zst."
    )
    text_key: str = Field(
        default="text", description="Key (jsonl) or column (parquet) of the text."
    )
    documents: Literal["line", "paragraph"] = Field(
        default="line",
        description="In .txt: a document is one line, or lines up to a blank line.",
    )

    def parts(self, stream: str) -> Sequence[Part]:
        """Return the files of one language in order of name, small ones together."""
        return group_files([(str(path), path.stat().st_size) for path in self._paths(stream)])

    def read_part(self, stream: str, part: Part) -> Iterator[Document | BrokenRecord]:
        """Yield the documents of some files, lines in order."""
        shared = os.path.commonpath([path.parent for path in self._paths(stream)])
        for path in map(Path, part.paths):
            name = os.path.relpath(path, shared)
            for line, found in self._read_file(path):
                if isinstance(found, BrokenRecord):
                    yield found
                elif found.strip():
                    yield Document(text=found, language=stream, id=f"{name}:{line}")
                else:
                    yield BrokenRecord(reason="empty text", path=path, line=line, excerpt="")

    def fingerprint(self) -> str:
        """Cover the names, sizes and modification times of all files."""
        files = [(str(p), p.stat()) for code in self.languages for p in self._paths(code)]
        return fingerprint([(name, stat.st_size, stat.st_mtime_ns) for name, stat in files])

    def _paths(self, language: str) -> list[Path]:
        pattern = self.path.replace("{language}", language)
        if Path(pattern).is_dir():
            found = sorted(Path(pattern).rglob("*"))
            found = [p for p in found if _kind(p) is not None and p.is_file()]
        elif Path(pattern).is_file():
            found = [Path(pattern)]
        else:
            found = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
            found = [p for p in found if p.is_file()]
        if not found:
            is_glob = glob.has_magic(pattern) or Path(pattern).is_dir()
            raise CorpusError(
                f"{'No file matches' if is_glob else 'No such file:'} {pattern} "
                f"(corpus source `files`, language {language}; seen from {Path.cwd()}). "
                f"Readable are {', '.join(_KINDS)}, also with {' or '.join(_COMPRESSIONS)}."
            )
        for path in found:
            if _kind(path) is None:
                raise CorpusError(
                    f"{path}: cannot tell what kind of file this is. Its name must end in "
                    f"{', '.join(_KINDS)}, also with {' or '.join(_COMPRESSIONS)}."
                )
        return found

    def _read_file(self, path: Path) -> Iterator[tuple[int, str | BrokenRecord]]:
        if path.stat().st_size == 0:
            yield 0, BrokenRecord(reason="empty file", path=path, line=0, excerpt="")
        elif _kind(path) == ".parquet":
            yield from self._read_parquet(path)
        elif _kind(path) == ".jsonl":
            for line, text in _decoded_lines(path):
                if isinstance(text, BrokenRecord):
                    yield line, text
                elif text.strip():
                    yield line, self._from_json(text, path, line)
        elif self.documents == "line":
            lines = _decoded_lines(path)
            yield from ((n, t) for n, t in lines if isinstance(t, BrokenRecord) or t.strip())
        else:
            yield from _paragraphs(_decoded_lines(path))

    def _from_json(self, text: str, path: Path, line: int) -> str | BrokenRecord:
        try:
            record: Any = json.loads(text)
        except (ValueError, RecursionError):  # ValueError: also a number of too many digits
            reason = "invalid JSON"
        else:
            if not isinstance(record, dict):
                reason = "not a JSON object"
            elif self.text_key not in record:
                keys = ", ".join(sorted(str(key) for key in record))
                reason = f"no key {self.text_key!r} (text_key); the record has: {keys[:200]}"
            elif not isinstance(record[self.text_key], str):
                reason = f"the value of {self.text_key!r} is not a text"
            elif not _can_be_written(record[self.text_key]):
                reason = "half a surrogate pair in the text"
            else:
                return record[self.text_key]
        return BrokenRecord(reason=reason, path=path, line=line, excerpt=text[:80])

    def _read_parquet(self, path: Path) -> Iterator[tuple[int, str | BrokenRecord]]:
        parquet = _import("pyarrow.parquet", "pyarrow", f"Reading {path}")
        arrow = _import("pyarrow", "pyarrow", f"Reading {path}")
        row = 0
        try:
            with parquet.ParquetFile(path) as file:
                names: list[str] = file.schema_arrow.names
                if self.text_key not in names:
                    raise CorpusError(
                        f"{path}: no column {self.text_key!r} (text_key); the file has: "
                        f"{', '.join(names)}."
                    )
                for batch in file.iter_batches(columns=[self.text_key], batch_size=1024):
                    for value in _values(batch.column(0)):
                        row += 1
                        if isinstance(value, str):
                            yield row, value
                            continue
                        reason = f"the value of {self.text_key!r} is not a text"
                        if isinstance(value, UnicodeDecodeError):
                            reason = "invalid UTF-8"
                        excerpt = repr(value)[:80]
                        yield (
                            row,
                            BrokenRecord(reason=reason, path=path, line=row, excerpt=excerpt),
                        )
        except (arrow.ArrowInvalid, OSError) as error:
            raise CorpusError(
                f"{path} is damaged or cut short after row {row}: {error}. "
                "Fetch or write the file again, or take it out of the path."
            ) from error


def _values(column: Any) -> Iterator[Any]:
    """Yield the values of an Arrow column, or the error where one is not UTF-8."""
    try:
        yield from column.to_pylist()
    except UnicodeDecodeError:  # somewhere in the batch: look at each
        for scalar in column:
            try:
                yield scalar.as_py()
            except UnicodeDecodeError as error:
                yield error


def _can_be_written(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(path: Path) -> str | None:
    suffixes = path.suffixes
    if suffixes and suffixes[-1] in _COMPRESSIONS:
        suffixes = suffixes[:-1]
        return suffixes[-1] if suffixes and suffixes[-1] in _KINDS[:2] else None
    return suffixes[-1] if suffixes and suffixes[-1] in _KINDS else None


def _decoded_lines(path: Path) -> Iterator[tuple[int, str | BrokenRecord]]:
    """Yield (1-based line number, line without its end); a line that is not UTF-8 is broken."""
    line = 0
    try:
        with _open(path) as file:
            for line, raw in enumerate(file, start=1):
                try:
                    text = raw.decode("utf-8-sig" if line == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError:
                    excerpt = raw[:80].decode("utf-8", errors="backslashreplace")
                    yield (
                        line,
                        BrokenRecord(reason="invalid UTF-8", path=path, line=line, excerpt=excerpt),
                    )
                else:
                    yield line, text
    except Exception as error:
        if (
            isinstance(error, (EOFError, gzip.BadGzipFile, zlib.error))
            or "zstd" in str(error).lower()
        ):
            raise CorpusError(
                f"{path} is damaged or cut short after line {line}: {error}. "
                "Fetch or write the file again, or take it out of the path."
            ) from error
        raise


def _open(path: Path) -> io.BufferedIOBase | Any:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    if path.suffix == ".zst":
        zstandard = _import("zstandard", "zstandard", f"Reading {path}")
        return io.BufferedReader(_ZstdFile(path, zstandard), 1 << 20)
    return path.open("rb")


class _ZstdFile(io.RawIOBase):
    """All frames of a .zst file; unlike the library's own reader, a file cut short is an error."""

    def __init__(self, path: Path, zstandard: Any) -> None:
        self._file = path.open("rb")
        self._new = zstandard.ZstdDecompressor().decompressobj
        self._frame: Any = None
        self._rest = b""  # compressed bytes that belong to the next frame
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._rest or self._file.read(1 << 18)
            self._rest = b""
            if not data and self._frame is None:
                return 0
            if not data:
                raise EOFError("the zstd stream ends inside a frame")
            self._frame = self._frame or self._new()
            self._ready = memoryview(self._frame.decompress(data))
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def _import(module: str, package: str, purpose: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise MissingExtraError(package, "data", purpose) from None


def _paragraphs(
    lines: Iterator[tuple[int, str | BrokenRecord]],
) -> Iterator[tuple[int, str | BrokenRecord]]:
    first, block = 0, list[str]()
    for line, text in lines:
        if isinstance(text, BrokenRecord):
            yield line, text
        elif text.strip():
            first = first if block else line
            block.append(text)
        elif block:
            yield first, "\n".join(block)
            block = []
    if block:
        yield first, "\n".join(block)
