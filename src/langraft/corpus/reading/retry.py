"""Retries of network requests, and remote files that reconnect where a connection broke.

To its reader a remote file is one stream of bytes, however often the connection is reopened. So
nothing above it (decompression, lines, parquet) reads a byte twice or misses one.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from typing import Any, TypeVar

from langraft.core.errors import CorpusError, UserError

MAX_ATTEMPTS = 5
FIRST_WAIT_SECONDS = 1.0  # doubled after each attempt: 15 seconds in all
_PERMANENT = (FileNotFoundError, PermissionError, IsADirectoryError, ImportError, UserError)
_FORBIDDEN = (401, 403, 407)  # statuses of HTTP
_GONE = (404, 410)
_Result = TypeVar("_Result")


def retry(request: Callable[[], _Result], message: Callable[[Exception], str]) -> _Result:
    """Call a function that needs the network, up to ``MAX_ATTEMPTS`` times with growing waits.

    Every library has its own exceptions for a failing network, so all are retried except those
    that another attempt cannot repair: a missing file, permission or package.

    Args:
        request: May be called again from the start.
        message: Returns what failed, from the last error.

    Raises:
        CorpusError: after the last attempt.
    """
    attempt = 1
    while True:
        try:
            return request()
        except Exception as error:
            reason = _reason(error)
            if isinstance(reason, _PERMANENT):
                raise reason from None
            if attempt == MAX_ATTEMPTS:
                raise CorpusError(message(reason)) from reason
        time.sleep(FIRST_WAIT_SECONDS * 2 ** (attempt - 1))
        attempt += 1


def http_status(error: BaseException | None) -> int | None:
    """Return the status of an answer of HTTP that an error stands for, if it does."""
    response = getattr(error, "response", None)  # of the hub's client; aiohttp has the status alone
    status = getattr(error, "status", getattr(response, "status_code", None))
    return status if isinstance(status, int) else None


def _reason(error: Exception) -> Exception:
    """Return why a request failed: a missing file, a missing permission, or what can be retried.

    fsspec reports whatever goes wrong with an address of https:// as a missing file, and why as its
    cause: a status of HTTP, or an error of the connection.
    """
    cause = error.__cause__ if isinstance(error, FileNotFoundError) else error
    status = http_status(cause)
    if status in _FORBIDDEN:
        return PermissionError(describe_error(cause or error))
    if status in _GONE:
        return error if isinstance(error, FileNotFoundError) else FileNotFoundError(str(error))
    is_unreachable = status is not None or type(cause).__module__.startswith("aiohttp")
    if isinstance(cause, Exception) and (is_unreachable or isinstance(cause, TimeoutError)):
        return cause
    return error


class RetryingFile(io.RawIOBase):
    """A remote file that reconnects at its position when the connection breaks."""

    def __init__(self, address: str, connect: Callable[[], Any], num_bytes: int) -> None:
        """Open nothing yet.

        Args:
            address: For messages.
            connect: Opens the file at its first byte.
            num_bytes: Its size; 0 when the server does not say, so that an early end is not seen.
        """
        self._address = address
        self._connect = connect
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
        """Move the position, over the open connection if it can seek."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._num_bytes}[whence]
        if start + offset != self._position:
            self._position = start + offset
            if self._file is not None and self._file.seekable():
                self._file.seek(self._position)
            else:
                self._disconnect()
        return self._position

    def tell(self) -> int:
        """Return the position in bytes."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes, reconnecting as often as ``retry`` allows.

        Raises:
            CorpusError: when the connection cannot be reopened.
        """
        try:
            data = retry(lambda: self._read(len(buffer)), self._message)
        except OSError as error:  # deleted, or no longer permitted
            raise CorpusError(self._message(error)) from error
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the connection."""
        self._disconnect()
        super().close()

    def _read(self, num_bytes: int) -> bytes:
        try:
            if self._file is None:
                self._file = self._connect()
                _skip(self._file, self._position)
            data: bytes = self._file.read(num_bytes)
            if not data and self._position < self._num_bytes:
                raise ConnectionError("the connection ended early")
        except BaseException:
            self._disconnect()
            raise
        return data

    def _disconnect(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(Exception):  # a broken connection may also fail to close
                file.close()

    def _message(self, error: Exception) -> str:
        size = f" of {self._num_bytes}" if self._num_bytes else ""
        return (
            f"{self._address}: reading stopped after {self._position}{size} bytes, and retries "
            f"failed: {describe_error(error)}. Run the same command again when the address can be "
            "reached; finished parts are kept."
        )


def describe_error(error: BaseException) -> str:
    """Return an error's class and text; many network errors have no text of their own."""
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _skip(file: Any, num_bytes: int) -> None:
    """Move on from the first byte, by reading where the server cannot seek."""
    if num_bytes and file.seekable():
        file.seek(num_bytes)
        return
    while num_bytes:
        data = file.read(min(num_bytes, 1 << 20))
        if not data:
            raise ConnectionError("the connection ended early")
        num_bytes -= len(data)
