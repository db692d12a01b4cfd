"""Batches of texts as arrays: words, lines and n-grams, for filters and deduplication.

Counting words in Python would cost more than all other processing of a text; over arrays of code
points it costs a few nanoseconds per character. A batch is analysed once for all filters.

A *word* is a run of letters, marks and digits, in lower case. In scripts without spaces between
words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) every character is a word here, and thresholds
in words are converted by ``characters_per_word``.

Shape suffixes: C = characters of the batch, W = words, L = lines, D = documents, N = n-grams.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langraft.core.language import primary_language

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

LETTER, MARK, DIGIT, SPACE, UNSPACED = 1, 2, 4, 8, 16
_WORD = LETTER | MARK | DIGIT
_UNSPACED_BLOCKS = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x19E0, 0x19FF)),  # Thai .. Khmer
    *((0x3040, 0x30FF), (0x31F0, 0x31FF), (0xFF66, 0xFF9F)),  # kana
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)),  # Han
)
_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that it has an inverse modulo 2**64
_BASE_INVERSE = np.uint64(pow(int(_BASE), -1, 2**64))

_CHARACTERS_PER_WORD = {"zh": 2, "ja": 2, "th": 4, "lo": 4, "km": 4, "my": 4}


def characters_per_word(language: str) -> int:
    """Return the mean characters of a word in languages without spaces between words; 0 for others.

    Our estimates: about two in Chinese and Japanese, four in Thai, Lao, Khmer and Burmese.
    """
    return _CHARACTERS_PER_WORD.get(primary_language(language), 0)


@dataclass(frozen=True, slots=True)
class Spans:
    """Ranges of the batch's characters, in order.

    Attributes:
        start: First character, (N,).
        stop: One past the last character, (N,).
        document: Index of the text, (N,), ascending.
        hashes: Hash of the characters, (N,).
    """

    start: Ints
    stop: Ints
    document: Ints
    hashes: Hashes

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, chosen: Ints) -> Spans:
        return Spans(
            self.start[chosen], self.stop[chosen], self.document[chosen], self.hashes[chosen]
        )

    @property
    def keys(self) -> Hashes:
        """Hashes of the characters and the text: equal only within a text, (N,)."""
        return mix(self.hashes ^ mix(self.document.astype(np.uint64)))

    @classmethod
    def none(cls) -> Spans:
        """Return no spans."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing, nothing, nothing, nothing.astype(np.uint64))


class TextBatch:
    """Some texts in one language, analysed when first needed."""

    def __init__(
        self, texts: Sequence[str], language: str, is_line_D: Sequence[bool] | None = None
    ) -> None:
        """Take texts that can be encoded as UTF-8.

        Args:
            texts: The texts.
            language: Their language.
            is_line_D: Which come from a source of one document a line; left out: none.
        """
        self.texts = texts
        self.language = language
        given = [False] * len(texts) if is_line_D is None else is_line_D
        self.is_line_D: Bools = np.array(given, dtype=bool)

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    @cached_property
    def codes_C(self) -> NDArray[np.uint32]:
        """Code points of all texts, a line end after each."""
        blob = "\n".join(self.texts) + "\n" if self.texts else ""
        return np.frombuffer(blob.encode("utf-32-le"), dtype=np.uint32)

    @cached_property
    def first_character_D(self) -> Ints:
        """First character of each text, and the end, (D + 1,)."""
        return np.cumsum([0, *(len(text) + 1 for text in self.texts)], dtype=np.int64)

    @cached_property
    def num_characters_D(self) -> Ints:
        """Length of each text, at least 1 so that shares are defined."""
        return np.maximum(np.diff(self.first_character_D) - 1, 1)

    @cached_property
    def kinds_C(self) -> NDArray[np.uint8]:
        """LETTER, MARK, DIGIT or SPACE of each character, plus UNSPACED; 0 for others."""
        return _tables()[0][self.codes_C]

    @cached_property
    def words(self) -> Spans:
        """Words, and single characters of scripts without spaces."""
        is_word_C = (self.kinds_C & _WORD) > 0
        is_single_C = (self.kinds_C & UNSPACED) > 0
        # A word starts or ends at every change, and around each single character.
        is_edge_C = np.diff(is_word_C, prepend=False) | is_single_C
        is_edge_C[1:] |= is_single_C[:-1]
        edges = np.flatnonzero(is_edge_C)
        start = edges[is_word_C[edges]]
        stop = np.append(edges, len(is_word_C))[np.searchsorted(edges, start) + 1]
        return self._spans(start, stop, _tables()[1][self.codes_C])

    @cached_property
    def lines(self) -> Spans:
        """Lines that are not blank, stripped."""
        return self._between(np.flatnonzero(self.codes_C == 10))

    @cached_property
    def paragraphs(self) -> Spans:
        """Paragraphs: text between blank lines or ends of texts, stripped."""
        is_end_C = self.codes_C == 10
        ends = np.flatnonzero(is_end_C)
        is_text_end = np.zeros(len(is_end_C) + 1, dtype=bool)
        is_text_end[self.first_character_D[1:] - 1] = True
        follows = np.append(is_end_C[1:], True)[ends]
        return self._between(ends[follows | is_text_end[ends]])

    def ngrams(self, num_words: int) -> Spans:
        """Return all n-grams of words in texts; without spaces, of as many characters."""
        words = self.words
        length = num_words * (characters_per_word(self.language) or 1)
        if len(words) < length:
            return Spans.none()
        last = slice(length - 1, None)
        is_inside = words.document[: len(words) - length + 1] == words.document[last]
        first = np.flatnonzero(is_inside)
        return Spans(
            start=words.start[first],
            stop=words.stop[first + length - 1],
            document=words.document[first],
            hashes=_hash_spans(words.hashes, first, first + length),
        )

    @cached_property
    def all_words(self) -> Spans:
        """Return one span for each text that has words: from its first to its last."""
        words = self.words
        first = np.flatnonzero(np.diff(words.document, prepend=-1))
        stop = np.append(first[1:], len(words))[: len(first)]
        return Spans(
            start=words.start[first],
            stop=words.stop[stop - 1],
            document=words.document[first],
            hashes=_hash_spans(words.hashes, first, stop),
        )

    @cached_property
    def num_words_D(self) -> NDArray[np.float64]:
        """Words of each text, at least one; without spaces, characters in words' worth."""
        scale = characters_per_word(self.language) or 1
        return np.maximum(self.count_spans(self.words), 1) / scale

    def count_spans(self, spans: Spans) -> Ints:
        """Return how many spans each text has, (D,)."""
        return np.bincount(spans.document, minlength=len(self))

    def share_of_characters(self, spans: Spans) -> NDArray[np.float64]:
        """Return the share of each text's characters that are in any of the spans, (D,).

        Spans must be in order of their start.
        """
        if not len(spans):
            return np.zeros(len(self))
        stop_so_far = np.maximum.accumulate(spans.stop)
        begin = np.maximum(spans.start, np.append(0, stop_so_far[:-1]))
        covered = np.maximum(spans.stop - begin, 0)
        return np.bincount(spans.document, covered, len(self)) / self.num_characters_D

    def count_characters(self, is_counted_C: Bools) -> Ints:
        """Return how many of each text's characters are marked, (D,)."""
        if not len(self):
            return np.zeros(0, dtype=np.int64)
        return np.add.reduceat(is_counted_C.astype(np.int64), self.first_character_D[:-1])

    def _between(self, ends: Ints) -> Spans:
        """Return the text before each end, stripped, where it is not blank."""
        if not len(ends):
            return Spans.none()
        visible = np.flatnonzero((self.kinds_C & SPACE) == 0)
        begins = np.append(0, ends[:-1] + 1)
        low, high = np.searchsorted(visible, [begins, ends])
        has_text = high > low
        start, stop = visible[low[has_text]], visible[high[has_text] - 1] + 1
        return self._spans(start, stop, self.codes_C)

    def _spans(self, start: Ints, stop: Ints, codes_C: NDArray[np.uint32]) -> Spans:
        document = np.searchsorted(self.first_character_D, start, side="right") - 1
        return Spans(start, stop, document, _hash_spans(codes_C.astype(np.uint64), start, stop))


def repeated(spans: Spans) -> Spans:
    """Return the spans that repeat an earlier span of the same text, in order."""
    if not len(spans):
        return spans
    key = spans.keys
    order = np.argsort(key)  # a stable sort is much slower, and few keys have a copy
    is_copy = key[order[1:]] == key[order[:-1]]
    copies = np.sort(order[np.append(is_copy, False) | np.append(False, is_copy)])
    again = np.ones(len(copies), dtype=bool)
    again[np.unique(key[copies], return_index=True)[1]] = False
    return spans[copies[again]]


def mix(hashes: Hashes) -> Hashes:
    """Mix the bits of hashes (the finaliser of splitmix64)."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _hash_spans(values: Hashes, start: Ints, stop: Ints) -> Hashes:
    """Hash values[start:stop] for many spans at once: a polynomial modulo 2**64."""
    powers, inverses = _powers(1 << max(len(values), 1).bit_length())
    prefix = np.empty(len(values) + 1, dtype=np.uint64)
    prefix[0] = 0
    np.cumsum((values + np.uint64(1)) * powers[: len(values)], out=prefix[1:])
    return mix((prefix[stop] - prefix[start]) * inverses[start])


@cache
def _powers(length: int) -> tuple[Hashes, Hashes]:
    """Return the powers of the hash's base and of its inverse."""
    found: list[Hashes] = []
    for base in (_BASE, _BASE_INVERSE):
        factors = np.full(length, base, dtype=np.uint64)
        factors[0] = 1
        found.append(np.cumprod(factors, dtype=np.uint64))
    return found[0], found[1]


@cache
def _tables() -> tuple[NDArray[np.uint8], NDArray[np.uint32]]:
    """Return the kind and the lower case of every code point."""
    kinds = np.zeros(0x110000, dtype=np.uint8)
    lower = np.arange(0x110000, dtype=np.uint32)
    of_category: dict[str, Any] = {"L": LETTER, "M": MARK, "N": DIGIT, "Z": SPACE}
    for code in range(0x110000):
        character = chr(code)
        kinds[code] = of_category.get(unicodedata.category(character)[0], 0)
        small = character.lower()
        if len(small) == 1:
            lower[code] = ord(small)
    for first, last in _UNSPACED_BLOCKS:
        block = kinds[first : last + 1]
        block[(block & _WORD) > 0] |= UNSPACED
    for blank in "\t\n\v\f\r\x1c\x1d\x1e\x1f\x85":
        kinds[ord(blank)] = SPACE
    return kinds, lower
