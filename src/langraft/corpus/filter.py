"""What drops or mends documents: the contract that every file in ``filters/`` keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langraft.core.corpus import FilterSettings
from langraft.corpus.text_batch import TextBatch


@dataclass(frozen=True, slots=True)
class Dropped:
    """A document that does not stay.

    Attributes:
        reason: Short and countable, for example ``too short``.
        detail: What was measured, for example ``12 words``.
    """

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One threshold over a batch.

    Attributes:
        reason: For whoever breaks it.
        measured_D: What was measured of each text, (D,).
        is_broken_D: Which texts break it, (D,).
    """

    reason: str
    measured_D: NDArray[Any]
    is_broken_D: NDArray[np.bool_]


Judge = Callable[[TextBatch], list[str | Dropped]]
"""From texts to what becomes of each: the text, mended or as it was, or why it is dropped."""


def keep_all(batch: TextBatch) -> list[str | Dropped]:
    """Judge nothing: what a filter starts with in a language that it is not for."""
    return list(batch.texts)


def drop_where(batch: TextBatch, rules: Sequence[Rule]) -> list[str | Dropped]:
    """Drop each text by the first rule that it breaks and keep the rest."""
    verdicts: list[str | Dropped] = list(batch.texts)
    for rule in reversed(rules):
        for number in np.flatnonzero(rule.is_broken_D):
            verdicts[number] = Dropped(rule.reason, f"{rule.measured_D[number]:.4g}")
    return verdicts


class AbstractFilter(FilterSettings, ABC):
    """One entry of ``corpus.filters``; its keys are its thresholds.

    Sentence pairs are not filtered: their source checks them as pairs.
    """

    @abstractmethod
    def start(self, language: str) -> Judge:
        """Load what is needed to judge documents of one language, once a worker.

        Raises:
            MissingExtraError: when a package is not installed.
            CorpusError: when a file is missing or no model, or the language is not known.
        """
