"""Rouge-L, the similarity of two texts, and its exact search among thousands of instructions.

Rouge-L (Lin 2004, section 3) is the F1 of the longest common subsequence of two texts' words.
Self-Instruct (arXiv:2212.10560, section 3.1) drops a new instruction whose Rouge-L with any
collected one is 0.7 or more.

Shape suffixes: P = collected instructions, N = postings.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from langraft.corpus.text_batch import TextBatch


def tokenize(text: str, language: str) -> list[str]:
    """Return the words of a text in lower case, as ``corpus/text_batch.py`` tells words.

    Of scripts that set no spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) each character is
    one, whatever the language; of Tibetan each syllable.
    """
    composed = unicodedata.normalize("NFC", text)
    words = TextBatch([composed], language).words
    spans = zip(words.start.tolist(), words.stop.tolist(), strict=True)
    return [composed[start:stop].lower() for start, stop in spans]


def rouge_l(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """Return the F1 of the longest common subsequence, 0..1; 0 where a text has no words."""
    total = len(a) + len(b)
    return 2 * common_length(a, b) / total if total else 0.0


def common_length(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Return the length of the longest common subsequence.

    Bit-parallel, after Hyyrö 2004 ("Bit-parallel LCS-length computation revisited"): a row of the
    textbook table is one integer, in which a zero says that the length grows at that word of a.
    """
    places: dict[Hashable, int] = {}
    for place, token in enumerate(a):
        places[token] = places.get(token, 0) | 1 << place
    whole = (1 << len(a)) - 1
    row = whole
    for token in b:
        matched = row & places.get(token, 0)
        row = (row + matched | row - matched) & whole
    return len(a) - row.bit_count()


class InstructionPool:
    """Collected instructions, and an exact search for the one most similar to a new one.

    Two texts' longest common subsequence is no longer than the multiset overlap I of their words,
    so Rouge-L F <= 2 I / (|a| + |b|), and only where this bound reaches the limit is the
    subsequence looked for. Overlaps with all collected instructions are counted at once: the k-th
    occurrence of a word in a text is a key of its own, and each key knows which instructions have
    it. The bound and F are the same division, so rounding prunes nothing that the limit allows.

    Attributes:
        limit: Rouge-L F from which two instructions count as alike, above 0.
        num_compared: Pairs whose common subsequence was looked for.
    """

    def __init__(self, limit: float = 0.7) -> None:
        self.limit = limit
        self.num_compared = 0
        self._texts: list[str] = []
        self._tokens: list[list[str]] = []
        self._lengths = array("q")
        self._postings: dict[tuple[str, int], array[int]] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def nearest(self, instruction: str, language: str) -> tuple[str, float] | None:
        """Return the most similar collected instruction that reaches the limit, and its F.

        The first one collected where several are equally similar; None where none reaches it.
        """
        tokens = tokenize(instruction, language)
        best: tuple[str, float] | None = None
        for place in self._candidates(tokens):
            self.num_compared += 1
            similarity = rouge_l(tokens, self._tokens[place])
            if similarity >= self.limit and (best is None or similarity > best[1]):
                best = self._texts[place], similarity
        return best

    def add(self, instruction: str, language: str) -> None:
        """Collect an instruction."""
        tokens = tokenize(instruction, language)
        for key in _occurrences(tokens):
            self._postings.setdefault(key, array("q")).append(len(self._texts))
        self._texts.append(instruction)
        self._tokens.append(tokens)
        self._lengths.append(len(tokens))

    def _candidates(self, tokens: Sequence[str]) -> list[int]:
        """Return the places of collected instructions whose bound reaches the limit."""
        keys = _occurrences(tokens)
        postings = [np.frombuffer(self._postings[k], np.int64) for k in keys if k in self._postings]
        if not postings:
            return []
        overlap_P = np.bincount(np.concatenate(postings), minlength=len(self._texts))
        total_P = np.frombuffer(self._lengths, np.int64) + len(tokens)
        return np.flatnonzero(2 * overlap_P / total_P >= self.limit).tolist()


def _occurrences(tokens: Iterable[str]) -> list[tuple[str, int]]:
    """Return each word with how often it occurred before, so that no two are equal."""
    seen: Counter[str] = Counter()
    keys: list[tuple[str, int]] = []
    for token in tokens:
        keys.append((token, seen[token]))
        seen[token] += 1
    return keys
