"""Continued BPE: the merges that a tokenizer would have learned next, had it seen this text.

Byte-pair encoding (Sennrich et al., arXiv:1508.07909) joins the most frequent pair of neighbouring
tokens, again and again. Here it does not begin with bytes but with words as the base's tokenizer
cuts them, so that every new merge comes after all of the base's. An encoder applies merges in the
order they were learned: it first does what the base's does and then goes on, in the same order as
here. So each new token is reached by the text it was learned from, unlike with tokens that another
tokenizer learned from bytes, whose pieces the base's merges may never leave standing side by side.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Pair = tuple[int, int]


@dataclass(slots=True)
class Word:
    """A distinct word of the text.

    Attributes:
        tokens: Its pieces, as they are now.
        count: How often it occurs in the new languages.
        weight: That, times what an occurrence in its language counts; whole, so that sums do not
            depend on their order.
        original: What its occurrences in the original languages count.
    """

    tokens: list[int]
    count: int = 0
    weight: int = 0
    original: int = 0


@dataclass(frozen=True, slots=True)
class Merge:
    """Two tokens and what they become."""

    left: int
    right: int
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeLimits:
    """When a frequent pair is no token all the same.

    Attributes:
        least_count: Occurrences in new languages, when its turn comes.
        original_ratio: How frequent it may be in original text, each against its own length, as a
            multiple of how frequent it is in new text. So what merges change of original text is
            at most this share of what they change of new text.
    """

    least_count: int = 2
    original_ratio: float = 0.02


class WordTable:
    """Words in pieces, with the weight of each pair of neighbours kept up to date."""

    def __init__(self, words: Iterable[Word]) -> None:
        """Count the pairs of words, which are changed in place by merging."""
        self._words = list(words)
        self._weights: defaultdict[Pair, int] = defaultdict(int)
        self._places: defaultdict[Pair, set[int]] = defaultdict(set)  # a pair may be gone again
        for number, word in enumerate(self._words):
            for pair in zip(word.tokens, word.tokens[1:], strict=False):
                self._weights[pair] += word.weight
                self._places[pair].add(number)
        self._heap = [(-weight, pair) for pair, weight in self._weights.items() if weight]
        heapq.heapify(self._heap)
        self._new_tokens = sum(word.weight * len(word.tokens) for word in self._words)
        self._original_tokens = sum(word.original * len(word.tokens) for word in self._words)

    def most_frequent(self) -> Pair | None:
        """Take the next pair by weight; of equal ones that with the smallest ids first."""
        while self._heap:
            weight, pair = heapq.heappop(self._heap)
            if self._weights.get(pair, 0) == -weight:
                return pair
        return None

    def is_within(self, pair: Pair, limits: MergeLimits) -> bool:
        """Say whether a pair is frequent enough in new text and rare enough in original text."""
        count = original = 0
        for number in self._places[pair]:
            word = self._words[number]
            times = sum(found == pair for found in zip(word.tokens, word.tokens[1:], strict=False))
            count += times * word.count
            original += times * word.original
        if count < limits.least_count:
            return False
        share = self._weights[pair] / self._new_tokens
        return original <= limits.original_ratio * share * self._original_tokens

    def merge(self, pair: Pair, token: int) -> None:
        """Put a token in the place of every such pair."""
        changed = set[Pair]()
        for number in self._places.pop(pair):
            word = self._words[number]
            word.tokens, gone, come = _merged(word.tokens, pair, token)
            for lost in gone:
                self._weights[lost] -= word.weight
            for found in come:
                self._weights[found] += word.weight
                self._places[found].add(number)
            changed.update(gone, come)
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
    name_token: Callable[[int, int], int | None],
    limits: MergeLimits,
) -> list[Merge]:
    """Learn merges until there are so many new tokens or no pair is frequent enough.

    Args:
        table: Words as the base's tokenizer cuts them; changed in place.
        num_tokens: New tokens wanted.
        name_token: Returns the id of the new token that two tokens become, or None where they
            must not be joined; so they must not where the vocabulary has what they spell: an
            encoder would then go on from it with merges learned earlier, out of order.
        limits: Which pairs are left alone.
    """
    merges: list[Merge] = []
    while len(merges) < num_tokens and (pair := table.most_frequent()) is not None:
        if table.is_within(pair, limits) and (token := name_token(*pair)) is not None:
            merges.append(Merge(*pair, token))
            table.merge(pair, token)
    return merges


def _merged(tokens: list[int], pair: Pair, token: int) -> tuple[list[int], list[Pair], list[Pair]]:
    """Return a word after a merge, the pairs it lost and those it won, each as often as that."""
    left, right = pair
    after: list[int] = []
    gone: list[Pair] = []
    come: list[Pair] = []
    at, last = 0, len(tokens) - 1
    while at <= last:
        if at < last and tokens[at] == left and tokens[at + 1] == right:
            gone.append(pair)
            if after:
                gone.append((after[-1], left))
                come.append((after[-1], token))
            if at + 1 < last:
                gone.append((right, tokens[at + 2]))
                come.append((token, tokens[at + 2]))
            after.append(token)
            at += 2
        else:
            after.append(tokens[at])
            at += 1
    return after, gone, come
