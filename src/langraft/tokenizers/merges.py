"""Continued BPE: the merges that a tokenizer would have learned next, had it seen this text.

Byte-pair encoding (Sennrich et al., arXiv:1508.07909) merges the most frequent pair of neighbouring
tokens, again and again. Here it starts from words in the base's tokens, not from bytes, so that
every new merge comes after all of the base's. An encoder applies merges in the order they were
learned: first the base's, then these. So each new token is reached by the text it was learned from,
unlike tokens that another tokenizer learned from bytes: the base's merges may never produce their
pieces side by side.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

MIN_COUNT = 2  # occurrences of a pair in new languages below which it is not merged
# The most frequent a pair may be in original text, as a multiple of its frequency in new text, each
# relative to the length of the text. So merges change original text by at most this share of what
# they change of new text.
_MAX_ORIGINAL_RATIO = 0.02

Pair = tuple[int, int]


@dataclass(slots=True)
class Word:
    """A distinct word of the text.

    Attributes:
        tokens: Its tokens after the merges so far.
        count: Occurrences in the new languages.
        weight: Occurrences times the weight of their language; an integer, so that sums do not
            depend on their order.
        original: Weighted occurrences in the original languages.
    """

    tokens: list[int]
    count: int = 0
    weight: int = 0
    original: int = 0


class WordTable:
    """Words as tokens, with the weight of each pair of neighbouring tokens kept up to date."""

    def __init__(self, words: Iterable[Word]) -> None:
        """Count the pairs; merging changes the words in place."""
        self._words = list(words)
        self._weights: defaultdict[Pair, int] = defaultdict(int)
        self._words_with: defaultdict[Pair, set[int]] = defaultdict(
            set
        )  # may hold words that lost the pair
        for number, word in enumerate(self._words):
            for pair in zip(word.tokens, word.tokens[1:], strict=False):
                self._weights[pair] += word.weight
                self._words_with[pair].add(number)
        self._heap = [(-weight, pair) for pair, weight in self._weights.items() if weight]
        heapq.heapify(self._heap)
        self._new_tokens = sum(word.weight * len(word.tokens) for word in self._words)
        self._original_tokens = sum(word.original * len(word.tokens) for word in self._words)

    def most_frequent(self) -> Pair | None:
        """Remove and return the pair of the highest weight; on ties, of the smallest ids."""
        while self._heap:
            weight, pair = heapq.heappop(self._heap)
            if self._weights.get(pair, 0) == -weight:
                return pair
        return None

    def may_merge(self, pair: Pair) -> bool:
        """Say whether a pair is frequent enough in new text and rare enough in original text."""
        count = original = 0
        for number in self._words_with[pair]:
            word = self._words[number]
            times = sum(found == pair for found in zip(word.tokens, word.tokens[1:], strict=False))
            count += times * word.count
            original += times * word.original
        if count < MIN_COUNT:
            return False
        share = self._weights[pair] / self._new_tokens
        return original <= _MAX_ORIGINAL_RATIO * share * self._original_tokens

    def merge(self, pair: Pair, token: int) -> None:
        """Replace every occurrence of a pair by a token."""
        changed = set[Pair]()
        for number in self._words_with.pop(pair):
            word = self._words[number]
            word.tokens, lost, gained = _merged(word.tokens, pair, token)
            for old in lost:
                self._weights[old] -= word.weight
            for new in gained:
                self._weights[new] += word.weight
                self._words_with[new].add(number)
            changed.update(lost, gained)
        self._weights.pop(pair, None)
        changed.discard(pair)
        for other in changed:
            weight = self._weights[other]
            if weight > 0:
                heapq.heappush(self._heap, (-weight, other))
            else:
                del self._weights[other]


def learn_merges(
    table: WordTable,
    num_tokens: int,
    new_token: Callable[[int, int], int | None],
) -> list[Pair]:
    """Learn merges until there are ``num_tokens`` of them or no pair is frequent enough.

    Args:
        table: Words in the base's tokens; changed in place.
        num_tokens: New tokens wanted.
        new_token: Returns the id of the new token that two tokens become, or None where they must
            not be merged, as where the vocabulary already has their joint spelling: an encoder
            would then apply earlier merges to it, out of order.
    """
    merges: list[Pair] = []
    while len(merges) < num_tokens and (pair := table.most_frequent()) is not None:
        if table.may_merge(pair) and (token := new_token(*pair)) is not None:
            merges.append(pair)
            table.merge(pair, token)
    return merges


def _merged(tokens: list[int], pair: Pair, token: int) -> tuple[list[int], list[Pair], list[Pair]]:
    """Return a word after a merge, and the pairs it lost and gained, once per occurrence."""
    left, right = pair
    after: list[int] = []
    lost: list[Pair] = []
    gained: list[Pair] = []
    at, last = 0, len(tokens) - 1
    while at <= last:
        if at < last and tokens[at] == left and tokens[at + 1] == right:
            lost.append(pair)
            if after:
                lost.append((after[-1], left))
                gained.append((after[-1], token))
            if at + 1 < last:
                lost.append((right, tokens[at + 2]))
                gained.append((token, tokens[at + 2]))
            after.append(token)
            at += 2
        else:
            after.append(tokens[at])
            at += 1
    return after, lost, gained
