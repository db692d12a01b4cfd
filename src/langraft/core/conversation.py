"""Instruction data: conversations and their messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ConversationFormat = Literal["auto", "alpaca", "sharegpt", "messages"]  # of files
Speaker = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation."""

    role: Speaker
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Messages in one language; the assistant's are the answers that a model learns.

    Attributes:
        messages: At least one of the user and, after it, one of the assistant.
        language: Code as in the recipe, for example ``el``.
        id: Its id in the file, or else its location, such as ``alpaca_el.jsonl:17``.
    """

    messages: tuple[Message, ...]
    language: str
    id: str
