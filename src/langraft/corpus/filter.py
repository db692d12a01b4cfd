"""What drops or mends documents: the contract that every file in ``filters/`` keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from langraft.core.corpus import FilterSettings


@dataclass(frozen=True, slots=True)
class Dropped:
    """A document that does not stay.

    Attributes:
        reason: Short and countable, for example ``too short``.
        detail: What was measured, for example ``12 words``.
    """

    reason: str
    detail: str = ""


Judge = Callable[[Sequence[str]], list[str | Dropped]]
"""From texts to what becomes of each: the text, mended or as it was, or why it is dropped."""


class AbstractFilter(FilterSettings, ABC):
    """One entry of ``corpus.filters``; its keys are its thresholds."""

    @abstractmethod
    def start(self, language: str) -> Judge:
        """Load what is needed to judge documents of one language, once a worker.

        Raises:
            MissingExtraError: when a package is not installed.
            CorpusError: when a file is missing or no model, or the language is not known.
        """
