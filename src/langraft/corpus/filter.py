"""The interface of document filters: every file in ``filters/`` holds one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langraft.core.settings.corpus import FilterSettings
from langraft.corpus.reading.addresses import StoredFile
from langraft.corpus.text_batch import TextBatch


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a filter drops a document.

    Attributes:
        reason: Short and the same for all such documents, for example ``too short``.
        detail: What was measured, for example ``12 words``.
    """

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One threshold, applied to a batch.

    Attributes:
        reason: Reason of the rejection of texts that break it.
        measured_D: The measured value of each text, (D,).
        is_broken_D: Which texts break the rule, (D,).
    """

    reason: str
    measured_D: NDArray[Any]
    is_broken_D: NDArray[np.bool_]


SHORT_WORDS = 50
"""Words below which a text is short. Gopher's thresholds are for texts of this length and more."""


def limits(batch: TextBatch, most: float) -> NDArray[np.float64]:
    """Return the most that a share may be in each text, (D,): in a short text at least a half.

    A share counts over a whole text, and a word or two decide it in a sentence: of eight words a
    date is three, and a name that stands there twice is a repeated 2-gram.
    """
    return np.where(batch.num_words_D < SHORT_WORDS, max(most, 0.5), most)


Judge = Callable[[TextBatch], list[str | Rejection]]
"""From a batch to one verdict a text: the text, repaired or unchanged, or a rejection."""


def keep_all(batch: TextBatch) -> list[str | Rejection]:
    """Keep every text: the judge of a filter in a language that it does not apply to."""
    return list(batch.texts)


def drop_where(batch: TextBatch, rules: Sequence[Rule]) -> list[str | Rejection]:
    """Reject each text by the first rule that it breaks; keep the others unchanged."""
    verdicts: list[str | Rejection] = list(batch.texts)
    for rule in reversed(rules):
        for number in np.flatnonzero(rule.is_broken_D):
            verdicts[number] = Rejection(rule.reason, f"{rule.measured_D[number]:.4g}")
    return verdicts


class AbstractFilter(FilterSettings, ABC):
    """One entry of ``corpus.filters``; its keys are its thresholds.

    Sentence pairs are not filtered; their source checks them.
    """

    def files(self, languages: Sequence[str]) -> list[StoredFile]:
        """Return the files beside the text by which it judges these languages; mostly none.

        Raises:
            CorpusError: when one is missing.
        """
        del languages
        return []

    @abstractmethod
    def make_judge(self, language: str) -> Judge:
        """Return the function that judges batches in one language; called once a stream and part.

        Loads the models and files that the filter needs.

        Raises:
            MissingExtraError: when a package is not installed.
            CorpusError: when a file is missing or not a model, or the language is not supported.
        """
