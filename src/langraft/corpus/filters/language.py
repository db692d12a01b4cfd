"""Drops documents that are not in their declared language (PolyLM, section 3.1, step 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from langraft.core.language import LanguageCode
from langraft.core.settings.settings import Share
from langraft.corpus.filter import AbstractFilter, Judge, Rejection, keep_all
from langraft.corpus.identify import make_language_scorer
from langraft.corpus.reading.addresses import StoredFile, stat_file
from langraft.corpus.text_batch import TextBatch

_SAMPLE = 120  # characters
_SHORT = 150  # characters up to which a whole text is identified


class Language(AbstractFilter):
    """Drops documents that an identifier does not recognise as the declared language."""

    name: Literal["language"] = Field(default="language", description="Language identification.")
    min_confidence: Share = Field(
        default=0.5, description="Confidence in the declared language below which it is dropped."
    )
    model: str | None = Field(
        default=None,
        description="File of a fastText model such as GlotLID's; left out: lingua, 75 languages.",
    )
    unchecked: tuple[LanguageCode, ...] = Field(
        default=(), description="Languages that are not checked, because the identifier lacks them."
    )

    def files(self, languages: Sequence[str]) -> list[StoredFile]:
        """Return the identifier's model, if it has one of its own."""
        return [stat_file(self.model)] if self.model is not None and languages else []

    def make_judge(self, language: str) -> Judge:
        """Load the identifier.

        Raises:
            CorpusError: when it does not support the language and ``unchecked`` does not name it.
        """
        if language in self.unchecked:
            return keep_all
        score = make_language_scorer(language, self.model)

        def judge(batch: TextBatch) -> list[str | Rejection]:
            verdicts: list[str | Rejection] = []
            samples = [_samples(text) for text in batch]
            found = iter(score([sample for of_text in samples for sample in of_text]))
            for text, of_text in zip(batch, samples, strict=True):
                scores = sorted(next(found) for _ in of_text)
                confidence, likeliest = scores[len(scores) // 2]
                if confidence >= self.min_confidence:
                    verdicts.append(text)
                else:
                    is_likeliest = likeliest in ("", language)
                    reason = "language uncertain" if is_likeliest else "another language"
                    verdicts.append(Rejection(reason, f"{likeliest or '?'}, {confidence:.2f}"))
            return verdicts

        return judge


def _samples(text: str) -> list[str]:
    """Return a short text whole, or three samples of a long one, whose median score counts.

    The cost of identification grows with length, and a name or quotation must not decide alone.
    """
    if len(text) <= _SHORT:
        return [text]
    length = min(_SAMPLE, len(text) // 3)
    middle = (len(text) - length) // 2
    return [text[:length], text[middle : middle + length], text[-length:]]
