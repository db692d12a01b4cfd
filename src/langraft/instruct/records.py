"""What a step of self-instruct leaves as lines of JSON: the tasks that it kept, what it dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from langraft.instruct.instruction import Instruction

TASKS, DROPPED = "tasks.jsonl", "dropped.jsonl"


def lines(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as JSONL."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def parse_lines(text: str) -> Iterator[dict[str, Any]]:
    r"""Yield the records of JSONL; only ``\n`` ends a line, U+2028 and the like are text."""
    for line in text.split("\n"):
        if line.strip():
            yield json.loads(line)


def read_tasks(folder: Path) -> list[Instruction]:
    """Return the tasks that a finished step kept, in order."""
    text = (folder / TASKS).read_text(encoding="utf-8")
    return [Instruction.from_json(record) for record in parse_lines(text)]
