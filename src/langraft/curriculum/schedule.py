"""Whose turn it is while shares stay the same: exact shares at every prefix.

What is called a language here is any stream of a mixture: ``el``, ``el/wiki`` or ``en+el``.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

MAX_PERIOD = 2**16


class Schedule(Protocol):
    """Says, by arithmetic alone, whose turn a sample is and whose turns came before."""

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language that ever has a turn."""
        ...

    def turn(self, sample: int) -> tuple[str, int]:
        """Return the language of a sample and how many earlier samples were of that language."""
        ...

    def counts(self, num_samples: int) -> dict[str, int]:
        """Return how many of the first samples belong to each language."""
        ...

    def shares(self, sample: int) -> dict[str, float]:
        """Return the shares that the mixture asks for at a sample; they sum to 1."""
        ...


class MixtureSchedule:
    """Constant shares: maps a sample number to a language and its running number there.

    The turns repeat with a period (the sum of the integer shares), so a lookup costs the same at
    every position and for any number of languages. Within a period the order is Tijdeman's
    ("The chairman assignment problem", 1980): after any number n of samples a language with share
    s has had its turn n * s times, give or take less than one.

    Shares whose common denominator exceeds 65,536 are rounded to it.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Lay out one period.

        Args:
            weights: Language to a positive weight; only ratios matter.
        """
        self.languages: tuple[str, ...] = tuple(weights)
        self._shares = _integer_shares(list(weights.values()))
        self.period = int(self._shares.sum())
        self._turns = _tijdeman(self._shares)
        self._ranks = np.empty(self.period, dtype=np.int64)
        for number in range(len(self.languages)):
            mine = self._turns == number
            self._ranks[mine] = np.arange(mine.sum())

    def turn(self, sample: int) -> tuple[str, int]:
        """Return the language of a sample and how many earlier samples were of that language."""
        cycle, place = divmod(sample, self.period)
        number = int(self._turns[place])
        return self.languages[number], cycle * int(self._shares[number]) + int(self._ranks[place])

    def counts(self, num_samples: int) -> dict[str, int]:
        """Return how many of the first samples belong to each language."""
        cycles, rest = divmod(num_samples, self.period)
        in_rest = np.bincount(self._turns[:rest], minlength=len(self.languages))
        counts = cycles * self._shares + in_rest
        return {code: int(n) for code, n in zip(self.languages, counts, strict=True)}

    def shares(self, sample: int) -> dict[str, float]:
        """Return the shares, the same at every sample."""
        del sample
        shares = self._shares / self.period
        return {code: float(share) for code, share in zip(self.languages, shares, strict=True)}


def _integer_shares(weights: list[float]) -> NDArray[np.int64]:
    fractions = [Fraction(str(weight)) for weight in weights]
    total = sum(fractions)
    shares = [fraction / total for fraction in fractions]
    period = math.lcm(*(share.denominator for share in shares))
    if period > MAX_PERIOD:
        shares = [max(Fraction(round(s * MAX_PERIOD)), Fraction(1)) for s in shares]
        period = 1
    return np.array([int(share * period) for share in shares], dtype=np.int64)


def _tijdeman(shares: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order one period so that no language is ever a whole turn ahead or behind.

    Every turn has a place from which it may be taken and a place by which it must be; at each
    place the most urgent of the open turns is taken. Both places are known beforehand, so turns
    are ranked once and a heap picks them.
    """
    num, period = len(shares), int(shares.sum())
    if num == 1:
        return np.zeros(period, dtype=np.int64)
    scale = 2 * num - 2
    owners = np.repeat(np.arange(num), shares)
    ranks = np.arange(period) - (np.cumsum(shares) - shares)[owners]
    owner_shares = shares[owners]
    opens = -(-period * (1 + ranks * scale) // (owner_shares * scale))  # places from 1
    due, part = np.divmod(period * (scale - 1 + ranks * scale), owner_shares)
    by_urgency = np.lexsort((owners, part / owner_shares, due))
    urgency = np.empty(period, dtype=np.int64)
    urgency[by_urgency] = np.arange(period)
    by_opening = np.argsort(opens, kind="stable")
    num_open = np.searchsorted(opens[by_opening], np.arange(1, period + 1), side="right").tolist()
    queue = urgency[by_opening].tolist()
    waiting: list[int] = []
    taken: list[int] = []
    opened = 0
    for until in num_open:
        for turn in queue[opened:until]:
            heapq.heappush(waiting, turn)
        opened = until
        taken.append(heapq.heappop(waiting))
    return owners[by_urgency[taken]]
