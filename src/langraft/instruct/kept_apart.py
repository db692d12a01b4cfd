"""Conversations kept out of training, for seeing what a stage of kind chat taught."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import Self

from langraft.core.conversation import Conversation, Message
from langraft.corpus.reading.records import Wrong
from langraft.instruct.chat_template import ChatExample, ChatFormat
from langraft.instruct.writing import as_line

_FILE = "heldout.jsonl"
_ONE_IN = 10


class KeptApart:
    """Takes about a tenth of one language's conversations, up to a number, as they come.

    Which ones, a hash of their text decides; the first one is for training, so that there is one.
    """

    def __init__(
        self, folder: Path, most: int, row_length: int, base: ChatFormat | None = None
    ) -> None:
        """Write into the folder of a language; what is longer than a row is left to training.

        Args:
            folder: Of the language.
            most: Conversations to take.
            row_length: Tokens of a row.
            base: The template with the base's tokenizer, where that is another than the run's and
                cuts text into more tokens: base and graft are to score the same conversations.
        """
        self.num_taken = 0
        self._is_first = True
        self._path = folder / _FILE
        self._most = most
        self._row_length = row_length
        self._base = base

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
        if not is_chosen or not self._fits(examples):
            return False
        if self._base is not None and not self._fits(self._base.encode(conversation)):
            return False
        self._file.write(as_line(conversation))
        self.num_taken += 1
        return True

    def _fits(self, examples: Sequence[ChatExample] | Wrong) -> bool:
        if isinstance(examples, Wrong):
            return False
        return all(len(each.tokens) <= self._row_length for each in examples)


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
