"""The nouns that flow through the corpus: a document, a broken record, a probe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "heldout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text in one language.

    Attributes:
        text: Unicode text, never empty.
        language: Code as in the recipe, for example ``el``.
        id: Name that finds the document again, for example ``novels.jsonl:17``.
        split: Where the source wants it; ``None`` leaves the choice to the corpus step.
    """

    text: str
    language: str
    id: str
    split: Split | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRecord:
    """An input line that could not become a document; counted by reason, never dropped silently.

    Attributes:
        reason: Short and countable, for example ``invalid JSON``.
        path: File it was read from.
        line: 1-based line (or row) number; 0 when the whole file is unreadable.
        excerpt: What stood there, shortened.
    """

    reason: str
    path: Path
    line: int
    excerpt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A multiple-choice question answered by log-likelihood.

    Attributes:
        prompt: Text before the answer, without trailing space.
        choices: Continuations, each starting with the blank that separates it from the prompt.
        answer: Index of the right choice.
        language: Language of prompt and choices.
        group: What the question is about, for example ``currency``.
        stated_in: Languages of the corpus that state the fact; ``("en",)`` measures transfer.
    """

    prompt: str
    choices: tuple[str, ...]
    answer: int
    language: str
    group: str
    stated_in: tuple[str, ...]
