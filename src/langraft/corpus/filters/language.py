"""Documents in another language than they are said to be in (PolyLM, section 3.1, step 1)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from langraft.core.language import LanguageCode
from langraft.core.settings import Share
from langraft.corpus.filter import AbstractFilter, Dropped, Judge, keep_all
from langraft.corpus.identify import make_recogniser
from langraft.corpus.text_batch import TextBatch

_STRETCH = 120  # characters
_SHORT = 150  # as long a text is identified whole


class Language(AbstractFilter):
    """Drops what an identifier does not take for the declared language."""

    name: Literal["language"] = Field(default="language", description="Language identification.")
    min_confidence: Share = Field(
        default=0.5, description="Confidence in the declared language below which it is dropped."
    )
    model: str | None = Field(
        default=None,
        description="File of a fastText model such as GlotLID's; left out: lingua, 75 languages.",
    )
    unchecked: tuple[LanguageCode, ...] = Field(
        default=(), description="Languages that are taken as declared: the identifier lacks them."
    )

    def start(self, language: str) -> Judge:
        """Load the identifier.

        Raises:
            CorpusError: when it does not know the language and ``unchecked`` does not name it.
        """
        if language in self.unchecked:
            return keep_all
        recognise = make_recogniser(language, self.model)

        def judge(batch: TextBatch) -> list[str | Dropped]:
            verdicts: list[str | Dropped] = []
            stretches = [_stretches(text) for text in batch]
            found = iter(recognise([stretch for of_text in stretches for stretch in of_text]))
            for text, of_text in zip(batch, stretches, strict=True):
                each = sorted(next(found) for _ in of_text)
                confidence, likeliest = each[len(each) // 2]
                if confidence >= self.min_confidence:
                    verdicts.append(text)
                else:
                    is_likeliest = likeliest in ("", language)
                    reason = "language uncertain" if is_likeliest else "another language"
                    verdicts.append(Dropped(reason, f"{likeliest or '?'}, {confidence:.2f}"))
            return verdicts

        return judge


def _stretches(text: str) -> list[str]:
    """Return what is identified of a text: all, or three stretches, whose median counts.

    Identification costs by the character, and a name or a quotation must not decide alone.
    """
    if len(text) <= _SHORT:
        return [text]
    length = min(_STRETCH, len(text) // 3)
    middle = (len(text) - length) // 2
    return [text[:length], text[middle : middle + length], text[-length:]]
