"""Records of a corpus: documents, broken records and probes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

Split = Literal["train", "heldout"]


class Piece(NamedTuple):
    """A part of a document in one language."""

    language: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text in one language, or a sentence pair in two.

    Attributes:
        text: Unicode text, never empty; of a pair, its pieces end to end.
        language: Code as in the recipe, for example ``el``; of a pair ``en+el``.
        id: Location of the document, for example ``novels.jsonl:17``.
        split: Split that the source assigns; ``None`` leaves it to the corpus step.
        pieces: The two sides of a pair; otherwise empty.
        is_line: Whether its source has one document a line, so that a sentence is a whole one.
    """

    text: str
    language: str
    id: str
    split: Split | None = None
    pieces: tuple[Piece, ...] = ()
    is_line: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenRecord:
    """An input line that could not become a document; counted by reason, never dropped silently.

    Attributes:
        reason: Short and countable, for example ``invalid JSON``.
        path: File it was read from, as a path or as an address (``s3://…``).
        line: 1-based line (or row) number; 0 when the whole file is unreadable.
        excerpt: The beginning of the record.
    """

    reason: str
    path: Path | str
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
