"""Decompression of gzip and zstd files, and the errors of damaged ones."""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Callable, Generator
from typing import Any

from langraft.core.errors import CorpusError
from langraft.corpus.reading.addresses import open_raw, suffixes_of
from langraft.corpus.reading.optional_packages import import_extra
from langraft.corpus.reading.paths import read_error

_BLOCK_BYTES = 1 << 20
_COMPRESSED_BYTES = 1 << 13  # read at a time; zstd can expand this many to 80 MB
_GZIP = 31  # zlib's wbits for data with gzip's header and trailer


def open_decompressed(address: str) -> io.BufferedReader:
    """Open a file for reading decompressed, as the suffix of its name says."""
    suffix = suffixes_of(address)[-1:]
    if suffix == [".gz"]:
        decompressed = _Decompressed(open_raw(address), lambda: zlib.decompressobj(_GZIP))
    elif suffix == [".zst"]:
        zstandard = import_extra("zstandard", "zstandard", f"Reading {address}")
        decompressed = _Decompressed(
            open_raw(address), lambda: zstandard.ZstdDecompressor().decompressobj()
        )
    else:
        return open_raw(address)
    return io.BufferedReader(decompressed, _BLOCK_BYTES)


@contextlib.contextmanager
def explain_damage(address: str, reached: Callable[[], str]) -> Generator[None, None, None]:
    """Turn the exceptions of decompressors and of the disk into a CorpusError.

    Args:
        address: The file.
        reached: Returns how far it was read, such as ``line 17``.

    Raises:
        CorpusError: when the block raises a decompressor's exception or an OSError.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (EOFError, zlib.error)) or "zstd" in str(error).lower():
            raise damage_error(address, reached(), error) from error
        if isinstance(error, OSError):
            raise read_error(address, error) from error
        raise


def damage_error(address: str, reached: str, error: object) -> CorpusError:
    """Return the error for a file that is damaged after what was ``reached``."""
    return CorpusError(
        f"{address} is damaged or cut short after {reached}: {str(error).rstrip('.')}. "
        "Fetch or write the file again, or take it out of the path."
    )


class _Decompressed(io.RawIOBase):
    """Decompresses all gzip members or zstd frames of a file; a truncated one is an error.

    zstandard's own reader takes truncation for the end; gzip's does not close the file under it.
    """

    def __init__(self, file: io.BufferedReader, start: Callable[[], Any]) -> None:
        self._file = file
        self._start = start
        self._frame: Any = None
        self._rest = b""  # compressed bytes of the next frame
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._rest or self._file.read(_COMPRESSED_BYTES)
            self._rest = b""
            if self._frame is None:
                data = data.lstrip(b"\0")  # padding, as of tar; no frame begins with a zero
            if not data and self._frame is None:
                if self._file.peek(1):
                    continue
                return 0
            if not data:
                raise EOFError("the file ends inside its compressed data")
            self._frame = self._frame or self._start()
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
