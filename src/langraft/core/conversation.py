"""The nouns of instruction data: a conversation, and the task it may come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Speaker = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Speaker
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Turns in one language; the assistant's are what a model learns to say.

    Attributes:
        messages: At least one of the user and, after it, one of the assistant.
        language: Code as in the recipe, for example ``el``.
        id: Its own in the file, or else a name that finds it again: ``alpaca_el.jsonl:17``.
    """

    messages: tuple[Message, ...]
    language: str
    id: str
