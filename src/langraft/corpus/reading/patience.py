"""What the network does: a connection that breaks is opened again where it broke.

A remote file is one stream of bytes to whoever reads it, however often the connection behind it is
made anew. So nothing above it (decompression, lines, parquet) reads a byte twice or misses one.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from typing import Any, TypeVar

from langraft.core.errors import CorpusError, UserError

TRIES = 5
FIRST_WAIT_SECONDS = 1.0  # doubled after each try: 15 seconds in all
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, ImportError, UserError)
_Result = TypeVar("_Result")


def persist(action: Callable[[], _Result], on_failure: Callable[[Exception], str]) -> _Result:
    """Do something that needs a network, up to ``TRIES`` times with longer and longer waits.

    Every library has exceptions of its own for a network that fails, so all count as that, except
    those that no second try can mend: a missing file, a missing right, a missing package.

    Args:
        action: May be done again from the start.
        on_failure: Says what could not be done, from the last error.

    Raises:
        CorpusError: after the last try.
    """
    for attempt in range(TRIES):
        try:
            return action()
        except _FINAL:
            raise
        except Exception as error:
            if attempt == TRIES - 1:
                raise CorpusError(on_failure(error)) from error
            time.sleep(FIRST_WAIT_SECONDS * 2**attempt)
    raise AssertionError("TRIES is at least 1")


class PatientFile(io.RawIOBase):
    """A remote file that is opened again at the byte it had come to when its connection breaks."""

    def __init__(self, address: str, open_anew: Callable[[], Any], num_bytes: int) -> None:
        """Open nothing yet.

        Args:
            address: For messages.
            open_anew: Returns the file from its first byte.
            num_bytes: Its size; 0 where the server does not say, and then an early end is not seen.
        """
        self._address = address
        self._open_anew = open_anew
        self._num_bytes = num_bytes
        self._file: Any = None
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return whether the size is known, which parquet needs."""
        return self._num_bytes > 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, within the connection where that can."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._num_bytes}[whence]
        if start + offset != self._position:
            self._position = start + offset
            if self._file is not None and self._file.seekable():
                self._file.seek(self._position)
            else:
                self._hang_up()
        return self._position

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read on.

        Raises:
            CorpusError: when the connection cannot be made again.
        """
        try:
            data = persist(lambda: self._read(len(buffer)), self._failure)
        except OSError as error:  # gone, or no longer allowed
            raise CorpusError(self._failure(error)) from error
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the connection."""
        self._hang_up()
        super().close()

    def _read(self, num_bytes: int) -> bytes:
        try:
            if self._file is None:
                self._file = self._open_anew()
                _skip(self._file, self._position)
            data: bytes = self._file.read(num_bytes)
            if not data and self._position < self._num_bytes:
                raise ConnectionError("the connection ended early")
        except BaseException:
            self._hang_up()
            raise
        return data

    def _hang_up(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(Exception):  # a broken connection may also fail to close
                file.close()

    def _failure(self, error: Exception) -> str:
        size = f" of {self._num_bytes}" if self._num_bytes else ""
        return (
            f"{self._address}: reading stopped after {self._position}{size} bytes and could not go "
            f"on: {describe(error)}. Run the same command again when the address can be reached; "
            "what was finished before is kept."
        )


def describe(error: Exception) -> str:
    """Return an error's class and text; many network errors have no text of their own."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _skip(file: Any, num_bytes: int) -> None:
    """Go forward from the first byte, by reading where the server has no other way."""
    if not num_bytes:
        return
    if file.seekable():
        file.seek(num_bytes)
        return
    while num_bytes:
        data = file.read(min(num_bytes, 1 << 20))
        if not data:
            raise ConnectionError("the connection ended early")
        num_bytes -= len(data)
