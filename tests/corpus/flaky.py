"""A file system of fsspec's whose connections break: ``flaky://``."""

from __future__ import annotations

from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class FlakyFileSystem(MemoryFileSystem):
    """Files in memory; a connection breaks after some bytes, as often as a test says."""

    protocol = "flaky"
    store: dict[str, Any] = {}  # noqa: RUF012 - as in the class above
    pseudo_dirs = [""]  # noqa: RUF012
    breaks = 0  # connections that will still break
    bytes_before_break = 0
    ends_early = False  # whether a break looks like the end of the file
    can_seek = True
    opened = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.removeprefix("flaky://"))

    def unstrip_protocol(self, name: str) -> str:
        return f"flaky://{self._strip_protocol(name).lstrip('/')}"

    def open(self, path: str, mode: str = "rb", **keys: Any) -> Any:
        file = super().open(path, mode, **keys)
        if mode != "rb":
            return file
        type(self).opened += 1
        return _Connection(file.getvalue(), type(self))


class _Connection:
    def __init__(self, data: bytes, system: type[FlakyFileSystem]) -> None:
        self._data, self._system, self._position, self._num_read = data, system, 0, 0

    def seekable(self) -> bool:
        return self._system.can_seek

    def seek(self, position: int) -> int:
        assert self.seekable()
        self._position = position
        return position

    def read(self, num_bytes: int) -> bytes:
        if self._system.breaks:
            num_bytes = min(num_bytes, self._system.bytes_before_break - self._num_read)
            if num_bytes <= 0:
                self._system.breaks -= 1
                if self._system.ends_early:
                    return b""
                raise OSError("connection reset by peer")
        data = self._data[self._position : self._position + num_bytes]
        self._position += len(data)
        self._num_read += len(data)
        return data

    def close(self) -> None:
        raise OSError("a broken connection cannot even be closed")


def serve(files: dict[str, bytes], **state: Any) -> None:
    """Put files there, and say how connections break from now on."""
    fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)
    FlakyFileSystem.store.clear()
    defaults = {"breaks": 0, "bytes_before_break": 0, "ends_early": False, "can_seek": True}
    for name, value in (defaults | {"opened": 0} | state).items():
        setattr(FlakyFileSystem, name, value)
    system = fsspec.filesystem("flaky")
    for name, data in files.items():
        system.pipe(f"/{name}", data)
