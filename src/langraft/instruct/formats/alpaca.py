"""Alpaca's tasks: ``instruction``, ``input`` (null, "" and <noinput> mean none), ``output``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langraft.core.conversation import Message
from langraft.corpus.reading.records import Wrong, as_text
from langraft.instruct.instruction import clean_input
from langraft.instruct.turns import Turns

KEY = "instruction"


def read(record: Mapping[str, Any]) -> Turns | Wrong:
    """Return a task as one question and one answer: the instruction, and on a line its input."""
    missing = next((key for key in (KEY, "output") if key not in record), None)
    if missing is not None:
        return Wrong(f"no key {missing!r}")
    instruction, output = (as_text(record[key], key) for key in (KEY, "output"))
    given = record.get("input")
    if isinstance(instruction, Wrong):
        return instruction
    if isinstance(output, Wrong):
        return output
    if not isinstance(given, str | None):
        return Wrong("the value of 'input' is not a text")
    needed = clean_input(given)
    if needed and isinstance(wrong := as_text(needed, "input"), Wrong):
        return wrong
    asked = f"{instruction}\n{needed}" if needed else instruction
    return (
        Message(role="user", content=asked),
        Message(role="assistant", content=output),
    )
