"""Messages as chat interfaces exchange them: ``messages: [{role, content}]``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langraft.corpus.reading.records import Wrong
from langraft.instruct.turns import Turns, read_turns

KEY = "messages"


def read(record: Mapping[str, Any]) -> Turns | Wrong:
    """Return the turns of a record, or why it has none."""
    return read_turns(record.get(KEY), KEY, "role", "content")
