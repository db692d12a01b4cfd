"""Tasks as records, and the text files that hold them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from langraft.core.errors import LangraftError
from langraft.core.files import read_json_lines

TASKS, DROPPED = "tasks.jsonl", "dropped.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """A task with its answer, and where it comes from.

    Attributes:
        instruction: What is asked.
        input: What it is asked of; empty where nothing is needed.
        output: The answer.
        language: Code, for example ``el``.
        id: Unique within a data set; of a seed its name, such as ``seed_12``.
        seeds: Ids of the tasks that the prompt showed; empty for a seed.
        round: Round that made it, from 1; 0 for a seed.
        teacher: Model that wrote it; empty for a seed written by people.
        prompt_sha256: Of the prompt that it answers; empty for a seed.
    """

    instruction: str
    input: str
    output: str
    language: str
    id: str
    seeds: tuple[str, ...] = ()
    round: int = 0
    teacher: str = ""
    prompt_sha256: str = ""


def tasks_to_jsonl(tasks: Iterable[Instruction]) -> str:
    """Return tasks as JSONL."""
    return to_jsonl(map(asdict, tasks))


def to_jsonl(records: Iterable[Mapping[str, Any]]) -> str:
    """Return records as JSONL."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def parse_jsonl(text: str) -> Iterator[dict[str, Any]]:
    r"""Yield the records of JSONL; only ``\n`` ends a line, U+2028 and the like are text."""
    for line in text.split("\n"):
        if line.strip():
            yield json.loads(line)


def read_tasks(folder: Path) -> list[Instruction]:
    """Return the tasks that a finished step kept, in order.

    Raises:
        ArtifactError: when the file is missing or damaged.
    """
    return list(read_json_lines(folder / TASKS, Instruction))


def count_reasons(dropped: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Count the records of ``dropped.jsonl`` by reason, in alphabetical order."""
    return dict(sorted(Counter(str(record["reason"]) for record in dropped).items()))


def read_user_text(path: Path, name: str, hint: str, error: type[LangraftError]) -> str:
    """Read a text file that a user wrote.

    Args:
        path: Of the file.
        name: What it is, for the message.
        hint: What to do when it is not there.
        error: Class to raise.

    Raises:
        LangraftError: of the class given, when the file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise error(f"There is no {name} {path} (seen from {Path.cwd()}). {hint}") from None
    except (OSError, UnicodeDecodeError) as cause:
        raise error(f"The {name} {path} cannot be read: {cause}. It must be UTF-8 text.") from None
