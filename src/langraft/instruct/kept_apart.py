"""Conversations kept out of training, for seeing what a stage of kind chat taught."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Self

from langraft.core.conversation import Conversation, Message
from langraft.instruct.chat_template import ChatExample
from langraft.instruct.writing import as_line

_FILE = "heldout.jsonl"
_ONE_IN = 10


class KeptApart:
    """Takes about a tenth of one language's conversations, up to a number, as they come.

    Which ones, a hash of their text decides; the first one is for training, so that there is one.
    """

    def __init__(self, folder: Path, most: int, row_length: int) -> None:
        """Write into the folder of a language; what is longer than a row is left to training."""
        self.num_taken = 0
        self._is_first = True
        self._path = folder / _FILE
        self._most = most
        self._row_length = row_length

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def take(self, conversation: Conversation, examples: Sequence[ChatExample]) -> bool:
        """Keep a conversation apart, or say that it is for training."""
        if self._is_first:
            self._is_first = False
            return False
        said = [turn.content for turn in conversation.messages]
        digest = blake2b(json.dumps(said).encode(), digest_size=8).digest()
        is_chosen = int.from_bytes(digest) % _ONE_IN == 0 and self.num_taken < self._most
        if not is_chosen or any(len(each.tokens) > self._row_length for each in examples):
            return False
        self._file.write(as_line(conversation))
        self.num_taken += 1
        return True


def read_kept_apart(folder: Path) -> list[Conversation]:
    """Return the conversations that were kept apart of one language."""
    with (folder / _FILE).open(encoding="utf-8") as file:
        records = [json.loads(line) for line in file]
    return [
        Conversation(
            messages=tuple(Message(**turn) for turn in record["messages"]),
            language=record["language"],
            id=record["id"],
        )
        for record in records
    ]
