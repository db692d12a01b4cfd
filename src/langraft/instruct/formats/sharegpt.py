"""ShareGPT's conversations: ``conversations: [{from, value}]``, from human and gpt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langraft.corpus.reading.records import Wrong
from langraft.instruct.turns import Turns, read_turns

KEY = "conversations"


def read(record: Mapping[str, Any]) -> Turns | Wrong:
    """Return the turns of a record, or why it has none."""
    return read_turns(record.get(KEY), KEY, "from", "value")
