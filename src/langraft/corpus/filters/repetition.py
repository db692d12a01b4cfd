"""Gopher's rules against repetition within a document.

Rae et al. 2021 (arXiv:2112.11446), appendix A.1.1, table A1; thresholds are theirs. Deviations:
words are those of ``text_batch``; repetitions count from the second occurrence on; an n-gram that
occurs once is not the most common one. In languages without spaces between words, an n-gram has as
many characters as n words have on average. Gopher judges only texts of 50 words or more, and these
thresholds do so too; in a shorter text more than a half must be repeated (``filter.limits``).
"""

from __future__ import annotations

from itertools import compress
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from langraft.core.settings.settings import Share
from langraft.corpus.filter import AbstractFilter, Judge, Rule, drop_where, limits
from langraft.corpus.text_batch import Spans, TextBatch, repeated

Thresholds = dict[Annotated[int, Field(ge=1, le=1000)], Share]


class Repetition(AbstractFilter):
    """Drops documents with too much repeated text."""

    name: Literal["repetition"] = Field(default="repetition", description="Rules after Gopher.")
    max_lines: Share = Field(default=0.3, description="Share of lines that are repeated.")
    max_line_characters: Share = Field(default=0.2, description="Share of characters in these.")
    max_paragraphs: Share = Field(default=0.3, description="Share of repeated paragraphs.")
    max_paragraph_characters: Share = Field(
        default=0.2, description="Share of characters in these."
    )
    top_ngrams: Thresholds = Field(
        default={2: 0.20, 3: 0.18, 4: 0.16},
        description="By n: share of characters in the most common n-gram of words.",
    )
    repeated_ngrams: Thresholds = Field(
        default={5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10},
        description="By n: share of characters in n-grams that are repeated.",
    )

    def make_judge(self, language: str) -> Judge:
        """Return the rules; they are the same for all languages."""
        del language
        return lambda batch: drop_where(batch, self._rules(batch))

    def _rules(self, batch: TextBatch) -> list[Rule]:
        rules: list[Rule] = []
        for name, spans, most, most_characters in (
            ("lines", batch.lines, self.max_lines, self.max_line_characters),
            ("paragraphs", batch.paragraphs, self.max_paragraphs, self.max_paragraph_characters),
        ):
            again = repeated(spans)
            share_D = batch.count_spans(again) / np.maximum(batch.count_spans(spans), 1)
            rules.append(Rule(f"repeated {name}", share_D, share_D > limits(batch, most)))
            share_D = batch.share_of_characters(again)
            is_broken_D = share_D > limits(batch, most_characters)
            rules.append(Rule(f"characters in repeated {name}", share_D, is_broken_D))
        for n, most in self.top_ngrams.items():
            share_D = _top_share(batch, batch.ngrams(n))
            is_broken_D = share_D > limits(batch, most)
            rules.append(Rule(f"one {n}-gram too common", share_D, is_broken_D))
        return [*rules, *self._ngram_rules(batch)]

    def _ngram_rules(self, batch: TextBatch) -> list[Rule]:
        """Measure repeated n-grams: the shortest in all texts, longer ones only where needed.

        Repeated n-grams of fewer words cover everything that those of more words cover.
        """
        rules: list[Rule] = []
        thresholds = sorted(self.repeated_ngrams.items())
        suspects = np.arange(len(batch))
        found, share_D = batch, np.ones(len(batch))
        for place, (n, most) in enumerate(thresholds):
            lowest = min(limit for _, limit in thresholds[place:])
            still = share_D[suspects] > lowest
            if not still.all():
                suspects = suspects[still]
                found = TextBatch(list(compress(found.texts, still)), batch.language)
            if not len(suspects):
                break
            share_D = np.zeros(len(batch))
            share_D[suspects] = found.share_of_characters(repeated(found.ngrams(n)))
            rules.append(Rule(f"repeated {n}-grams", share_D, share_D > limits(batch, most)))
        return rules


def _top_share(batch: TextBatch, ngrams: Spans) -> NDArray[np.float64]:
    """Return the share of each text's characters in its most common n-gram, (D,)."""
    share_D = np.zeros(len(batch))
    if not len(ngrams):
        return share_D
    key = ngrams.keys
    order = np.argsort(key)
    first = np.flatnonzero(np.append(True, key[order[1:]] != key[order[:-1]]))
    times = np.diff(np.append(first, len(key)))
    several = times > 1
    one = order[first[several]]
    characters = times[several] * (ngrams.stop[one] - ngrams.start[one])
    document = ngrams.document[one]
    np.maximum.at(share_D, document, characters / batch.num_characters_D[document])
    return share_D
