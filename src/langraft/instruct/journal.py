"""A file that grows by one record at a time and outlives the process that writes it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from langraft.core.artifacts import explain_disk_errors, fingerprint
from langraft.core.errors import ArtifactError


class Journal:
    """Lines of JSON, each with its own hash, each on the disk before ``append`` returns.

    A process that dies while it writes leaves at most a torn last line; ``read`` cuts it off.
    """

    def __init__(self, path: Path) -> None:
        """Touch nothing yet."""
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """Return the records and cut off a torn last line.

        Raises:
            ArtifactError: when another line is damaged: nothing of ours does that.
        """
        if not self.path.is_file():
            return []
        data = self.path.read_bytes()
        lines = data.splitlines(keepends=True)
        records: list[dict[str, Any]] = []
        num_whole_bytes = 0
        for number, line in enumerate(lines, start=1):
            record = _parse(line)
            if record is not None:
                records.append(record)
                num_whole_bytes += len(line)
            elif number < len(lines):
                raise ArtifactError(
                    f"{self.path}:{number} is damaged. Delete this line and run the same command "
                    "again: what it held is asked again."
                )
        if num_whole_bytes < len(data):
            with explain_disk_errors(self.path.parent):
                os.truncate(self.path, num_whole_bytes)
        return records

    def append(self, record: dict[str, Any]) -> None:
        """Add a record: one write, on the disk when this returns.

        Raises:
            ArtifactError: when the disk is full or the folder cannot be written.
        """
        line = json.dumps(record | {"sha256": fingerprint(record)}, ensure_ascii=False) + "\n"
        with explain_disk_errors(self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                data = line.encode()
                if file.write(data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return a line's record; None when the line is not whole."""
    try:
        record: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        sha256 = record.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    return record if sha256 == fingerprint(record) else None
