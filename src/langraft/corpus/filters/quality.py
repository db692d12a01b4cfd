"""Gopher's rules, which keep prose and drop lists, tables, code and noise.

Rae et al. 2021 (arXiv:2112.11446), appendix A.1.1. PolyLM (section 3.1) uses rules after Gopher and
BLOOM and publishes no thresholds, so ours are Gopher's. Deviations: a word is a run of letters,
marks and digits, without punctuation; in languages without spaces between words, characters are
counted instead (``text_batch``) and word length has no limits; rules on lines apply to texts of at
least five lines; half of the lines may end with an ellipsis (Gopher: 0.3), because plays and novels
would be dropped; the limit on digits is ours.

Gopher's rules are for web pages of 50 words or more. Where a source has one document a line, a
sentence is a whole document: three words suffice unless the recipe says otherwise. In texts of
fewer than 50 words, means over words and stop words say nothing and are not judged, and shares are
broken only beyond a half (``filter.limits``).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from langraft.core.settings.settings import Share
from langraft.corpus.filter import (
    SHORT_WORDS,
    AbstractFilter,
    Judge,
    Rejection,
    Rule,
    drop_where,
    limits,
)
from langraft.corpus.text_batch import DIGIT, LETTER, MARK, TextBatch, characters_per_word

LINE_WORDS = 3
"""Words that a document needs which is a line, or a sentence."""

_BULLETS = [ord(c) for c in "*\u2022\u2023\u25aa\u25cf\u25cb\u25e6"]
_FEWEST_LINES = 5
_ELLIPSIS = ord("…")
_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")


class Quality(AbstractFilter):
    """Drops documents that do not look like prose."""

    name: Literal["quality"] = Field(default="quality", description="Rules after Gopher.")
    min_words: int | None = Field(
        default=None,
        ge=0,
        le=10**9,
        description="Fewer is too short; left out: 50 (Gopher), and 3 where a source has one "
        "document a line (.txt).",
    )
    max_words: int = Field(
        default=100_000, ge=1, le=10**9, description="More is too long (Gopher)."
    )
    min_word_length: float = Field(
        default=3, ge=0, le=10**6, description="Mean characters (Gopher)."
    )
    max_word_length: float = Field(
        default=10, gt=0, le=10**6, description="Mean characters (Gopher)."
    )
    max_symbols: float = Field(
        default=0.1,
        ge=0,
        le=10**6,
        description="Number signs, or ellipses, for each word (Gopher).",
    )
    max_bullets: Share = Field(
        default=0.9, description="Share of lines that begin with a bullet (Gopher)."
    )
    max_ellipses: Share = Field(
        default=0.5, description="Share of lines that end with an ellipsis (Gopher: 0.3)."
    )
    min_alphabetic: Share = Field(default=0.8, description="Share of words with a letter (Gopher).")
    max_digits: Share = Field(default=0.2, description="Share of characters that are digits.")
    min_stop_words: int = Field(
        default=2,
        ge=0,
        le=len(_STOP_WORDS),
        description=f"English only: fewest of {', '.join(_STOP_WORDS)} that occur (Gopher).",
    )

    def make_judge(self, language: str) -> Judge:
        """Return the judge of a language."""
        has_stop_words = language == "en" and self.min_stop_words > 0

        def judge(batch: TextBatch) -> list[str | Rejection]:
            rules = [*self._word_rules(batch), *self._line_rules(batch), *self._letter_rules(batch)]
            if has_stop_words:
                found_D = _num_stop_words(batch)
                is_broken_D = (found_D < self.min_stop_words) & (batch.num_words_D >= SHORT_WORDS)
                rules.append(Rule("too few stop words", found_D, is_broken_D))
            return drop_where(batch, rules)

        return judge

    def _word_rules(self, batch: TextBatch) -> list[Rule]:
        """Return the rules on the number and length of words, and on symbols per word."""
        words, num_words_D = batch.words, batch.num_words_D
        is_long_D = num_words_D >= SHORT_WORDS
        min_words_D = (
            np.where(batch.is_line_D, LINE_WORDS, SHORT_WORDS)
            if self.min_words is None
            else self.min_words
        )
        rules = [
            Rule("too few words", num_words_D, num_words_D < min_words_D),
            Rule("too many words", num_words_D, num_words_D > self.max_words),
        ]
        if not characters_per_word(batch.language):
            lengths = np.bincount(words.document, words.stop - words.start, len(batch))
            mean_D = lengths / num_words_D
            rules += [
                Rule("words too short", mean_D, is_long_D & (mean_D < self.min_word_length)),
                Rule("words too long", mean_D, is_long_D & (mean_D > self.max_word_length)),
            ]
        for reason, is_symbol_C in (
            ("too many number signs", batch.codes_C == ord("#")),
            ("too many ellipses", _is_ellipsis(batch)),
        ):
            each_D = batch.count_characters(is_symbol_C) / num_words_D
            rules.append(Rule(reason, each_D, each_D > limits(batch, self.max_symbols)))
        return rules

    def _line_rules(self, batch: TextBatch) -> list[Rule]:
        """Return the rules on the first and last characters of lines."""
        lines, codes_C, rules = batch.lines, batch.codes_C, list[Rule]()
        num_lines_D = np.maximum(batch.count_spans(lines), 1)
        # A hyphen only before a space; in many languages dashes begin direct speech.
        is_bullet_L = np.isin(codes_C[lines.start], _BULLETS) | (
            (codes_C[lines.start] == ord("-")) & (codes_C[lines.start + 1] == ord(" "))
        )
        is_ellipsis_L = _is_ellipsis(batch)[lines.stop - 1]
        for reason, limit, is_counted_L in (
            ("lines begin with bullets", self.max_bullets, is_bullet_L),
            ("lines end with an ellipsis", self.max_ellipses, is_ellipsis_L),
        ):
            share_D = np.bincount(lines.document, is_counted_L, len(batch)) / num_lines_D
            is_broken_D = (share_D > limit) & (num_lines_D >= _FEWEST_LINES)
            rules.append(Rule(reason, share_D, is_broken_D))
        return rules

    def _letter_rules(self, batch: TextBatch) -> list[Rule]:
        """Return the rules on words without letters and on digits."""
        words, kinds_C = batch.words, batch.kinds_C
        letters_C = np.append(0, np.cumsum((kinds_C & (LETTER | MARK)) > 0))
        has_letter_W = letters_C[words.stop] > letters_C[words.start]
        num_words_D = np.maximum(batch.count_spans(words), 1)
        alphabetic_D = np.bincount(words.document, has_letter_W, len(batch)) / num_words_D
        # Digits of a date are a larger share of a text in languages of few characters per word.
        length_D = batch.num_characters_D * (characters_per_word(batch.language) or 1)
        digits_D = batch.count_characters((kinds_C & DIGIT) > 0) / length_D
        is_short_D = batch.num_words_D < SHORT_WORDS
        fewest_D = np.where(is_short_D, min(self.min_alphabetic, 0.5), self.min_alphabetic)
        return [
            Rule("words without letters", alphabetic_D, alphabetic_D < fewest_D),
            Rule("too many digits", digits_D, digits_D > limits(batch, self.max_digits)),
        ]


def _is_ellipsis(batch: TextBatch) -> NDArray[np.bool_]:
    """Return which characters end an ellipsis: a character of its own, or three dots, (C,)."""
    is_ellipsis_C = batch.codes_C == _ELLIPSIS
    is_dot_C = batch.codes_C == ord(".")
    is_ellipsis_C[2:] |= is_dot_C[2:] & is_dot_C[1:-1] & is_dot_C[:-2]
    return is_ellipsis_C


def _num_stop_words(batch: TextBatch) -> NDArray[np.int64]:
    """Return how many different stop words each text has."""
    hashes = TextBatch([" ".join(_STOP_WORDS)], batch.language).words.hashes
    words = batch.words
    return np.sum(
        [np.bincount(words.document[words.hashes == h], minlength=len(batch)) > 0 for h in hashes],
        axis=0,
    )
