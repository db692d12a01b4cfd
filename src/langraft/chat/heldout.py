"""Held-out conversations: kept out of training, to measure what a stage of kind chat taught."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Self

from langraft.chat.messages import InvalidConversation
from langraft.chat.template import ChatExample, ChatTemplate
from langraft.chat.write_conversations import to_json_line
from langraft.core.conversation import Conversation
from langraft.core.files import read_json_lines

_FILE = "heldout.jsonl"
_ONE_IN = 10


class HeldoutConversations:
    """Holds out about a tenth of one language's conversations, up to a number, as they come.

    A hash of their text decides which ones; the first is always for training, so that it has one.
    """

    def __init__(
        self, folder: Path, max_count: int, row_length: int, base: ChatTemplate | None = None
    ) -> None:
        """Prepare to write into a language's folder; nothing longer than a row is held out.

        Args:
            folder: Of the language.
            max_count: Conversations to hold out at most.
            row_length: Tokens of a row.
            base: The template with the base's tokenizer, where that is another than the run's and
                cuts text into more tokens: base and graft are to score the same conversations.
        """
        self.num_heldout = 0
        self._is_first = True
        self._path = folder / _FILE
        self._max_count = max_count
        self._row_length = row_length
        self._base = base

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w", encoding="utf-8")
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def take(self, conversation: Conversation, examples: Sequence[ChatExample]) -> bool:
        """Hold a conversation out if it is chosen; False means that it is for training.

        Args:
            conversation: The next one.
            examples: The same as tokens.
        """
        if self._is_first:
            self._is_first = False
            return False
        content = [message.content for message in conversation.messages]
        digest = blake2b(json.dumps(content).encode(), digest_size=8).digest()
        is_chosen = int.from_bytes(digest) % _ONE_IN == 0 and self.num_heldout < self._max_count
        if not is_chosen or not self._fits(examples) or not self._fits_base(conversation):
            return False
        self._file.write(to_json_line(conversation))
        self.num_heldout += 1
        return True

    def _fits(self, examples: Sequence[ChatExample]) -> bool:
        return all(len(example.tokens) <= self._row_length for example in examples)

    def _fits_base(self, conversation: Conversation) -> bool:
        try:
            return self._base is None or self._fits(self._base.encode(conversation))
        except InvalidConversation:
            return False


def read_heldout_conversations(folder: Path) -> list[Conversation]:
    """Return the held-out conversations of one language.

    Raises:
        ArtifactError: when the file is missing or damaged.
    """
    return list(read_json_lines(folder / _FILE, Conversation))
