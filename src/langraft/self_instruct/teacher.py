"""The interface of teachers, models that write tasks: each file in ``teachers/`` implements it."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import Field

from langraft.core.settings.settings import Count, Settings

FaultKind = Literal[
    "rate_limited", "server_error", "timeout", "unreachable", "refused", "malformed", "usage"
]
BYTES_PER_TOKEN = 4  # estimate for a text whose tokens were not counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request to a teacher.

    Attributes:
        number: Its place in its list of questions, from 0.
        text: The whole prompt.
        seed: For teachers that sample on this machine; 0 .. 2**63 - 1.
    """

    number: int
    text: str
    seed: int

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the text, by which a saved answer is matched to its question."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A teacher's answer to a question.

    Attributes:
        text: Unchanged; empty when a server never gave one, or refused the prompt.
        is_truncated: Whether it was cut at ``max_tokens``.
        prompt_tokens: Tokens read, as the teacher counts them.
        answer_tokens: Tokens written.
    """

    text: str
    is_truncated: bool
    prompt_tokens: int
    answer_tokens: int


class Listener(Protocol):
    """Receives every answer and fault the moment it comes."""

    def answered(self, question: Question, answer: Answer) -> None:
        """Save an answer."""
        ...

    def failed(self, question: Question, kind: FaultKind, detail: str) -> None:
        """Count a fault, after which the question is asked again or gets an empty answer."""
        ...


class Session(Protocol):
    """A teacher that is ready to answer several lists of questions at the same time."""

    async def ask(
        self, questions: Sequence[Question], done: Collection[int], listener: Listener
    ) -> None:
        """Ask the questions whose numbers are not in ``done``, in any order.

        The whole list is given every time, so that a teacher that answers in batches forms the same
        batches whichever are done.

        Raises:
            TeacherError: when no further request can succeed; the listener has all answers so far.
        """
        ...


class AbstractTeacher(Settings, ABC):
    """A model that writes tasks, with the settings of its sampling.

    ``temperature``, ``top_p`` and ``max_tokens`` are those of Stanford Alpaca's own generation,
    on which MultiAlpaca (PolyLM, arXiv:2307.06018) builds without naming its own.
    """

    name: str = Field(description="Which teacher.")
    temperature: float = Field(
        default=1.0, ge=0, le=2, description="Of sampling; 0 picks the likeliest token."
    )
    top_p: float = Field(
        default=1.0, gt=0, le=1, description="Share of probability that is sampled from."
    )
    max_tokens: Count = Field(
        default=3072, ge=1, le=10**7, description="Longest answer, in tokens."
    )

    @property
    @abstractmethod
    def label(self) -> str:
        """Return the name of the model, as records give it."""

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Return, as JSON, all that answers depend on, without limits, prices or addresses.

        Raises:
            TeacherError: when a model's folder cannot be read.
        """

    @abstractmethod
    def cost(self, prompt_tokens: int, answer_tokens: int) -> float:
        """Return the price of some tokens, in the currency of the settings."""

    @abstractmethod
    def session(self) -> AbstractAsyncContextManager[Session]:
        """Load the model or open the client.

        Raises:
            TeacherError: when there is no key or no model.
            MissingExtraError: when a package that it needs is not installed.
        """
