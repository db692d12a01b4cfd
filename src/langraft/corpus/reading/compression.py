"""Bytes without their compression, and the damage that shows while it is taken off."""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from langraft.core.errors import CorpusError
from langraft.corpus.reading.addresses import is_remote, open_stored
from langraft.corpus.reading.extra import import_extra

_BLOCK_BYTES = 1 << 20
_PACKED_BYTES = 1 << 13  # of constant text zstd makes 80 MB out of this many
_GZIP = 31  # wbits of zlib: gzip's header and trailer


def open_plain(address: str) -> io.BufferedReader:
    """Open a file for reading without its compression, which the end of its name tells."""
    suffix = Path(address.partition("?")[0] if is_remote(address) else address).suffix
    if suffix == ".gz":
        unpacked = _Unpacked(open_stored(address), lambda: zlib.decompressobj(_GZIP))
    elif suffix == ".zst":
        zstandard = import_extra("zstandard", "zstandard", f"Reading {address}")
        unpacked = _Unpacked(
            open_stored(address), lambda: zstandard.ZstdDecompressor().decompressobj()
        )
    else:
        return open_stored(address)
    return io.BufferedReader(unpacked, _BLOCK_BYTES)


@contextlib.contextmanager
def damage_in(address: str, reached: Callable[[], str]) -> Generator[None, None, None]:
    """Turn what decompressors raise into words.

    Args:
        address: The file that is read.
        reached: How far it was read, such as ``line 17``.

    Raises:
        CorpusError: in place of their exceptions.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (EOFError, zlib.error)) or "zstd" in str(error).lower():
            raise damaged(address, reached(), error) from error
        raise


def damaged(address: str, reached: str, error: object) -> CorpusError:
    """Return the error of a file that cannot be read on."""
    return CorpusError(
        f"{address} is damaged or cut short after {reached}: {str(error).rstrip('.')}. "
        "Fetch or write the file again, or take it out of the path."
    )


class _Unpacked(io.RawIOBase):
    """All gzip members or zstd frames of a file; one that is cut short is an error.

    zstandard's own reader takes a cut for an end, and gzip's does not close the file under it.
    """

    def __init__(self, file: io.BufferedReader, start: Callable[[], Any]) -> None:
        self._file = file
        self._start = start
        self._frame: Any = None
        self._rest = b""  # compressed bytes that belong to the next frame
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._rest or self._file.read(_PACKED_BYTES)
            self._rest = b""
            if self._frame is None:
                data = data.lstrip(b"\0")  # tar and tapes pad; no frame begins with a zero
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
