"""An append-only JSONL file that survives the death of the process that writes it.

Each line has its own hash and is on the disk before ``append_record`` returns. A process that dies
while it writes leaves at most a torn last line; ``read_records`` cuts it off.
"""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from langraft.core.errors import ArtifactError
from langraft.core.files import Schema, fingerprint, parse_json
from langraft.core.system_errors import explain_disk_errors

_ADVICE = "Delete this line and run the same command again: what it held is asked again."


def read_records(path: Path, schema: type[Schema]) -> list[Schema]:
    """Return the records of a file, none if it is not there, and cut off a torn last line.

    Args:
        path: What ``append_record`` wrote.
        schema: Type of a record.

    Raises:
        ArtifactError: when another line is damaged: nothing of ours does that.
    """
    if not path.is_file():
        return []
    data = path.read_bytes()
    lines = data.splitlines(keepends=True)
    records: list[Schema] = []
    num_whole_bytes = 0
    for number, line in enumerate(lines, start=1):
        record = _parse(line)
        if record is not None:
            place = f"{path}:{number}"
            records.append(parse_json(json.dumps(record), schema, place, advice=_ADVICE))
            num_whole_bytes += len(line)
        elif number < len(lines):
            raise ArtifactError(f"{path}:{number} is damaged. {_ADVICE}")
    if num_whole_bytes < len(data):
        with explain_disk_errors(path.parent):
            os.truncate(path, num_whole_bytes)
    return records


def append_record(path: Path, record: dict[str, Any]) -> None:
    """Add a record in one write; it is on the disk when this returns.

    Raises:
        ArtifactError: when the disk is full or the folder cannot be written.
    """
    line = json.dumps(record | {"sha256": fingerprint(record)}, ensure_ascii=False) + "\n"
    with explain_disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab", buffering=0) as file:
            data = line.encode()
            if file.write(data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return a line's record; None when the line is torn or damaged."""
    try:
        record = parse_json(line, dict[str, Any], "")
    except ArtifactError:
        return None
    is_whole = line.endswith(b"\n") and record.pop("sha256", None) == fingerprint(record)
    return record if is_whole else None
