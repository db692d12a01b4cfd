"""Schedules, which assign samples to the streams of a mixture; the one of constant shares.

Streams are ``el``, ``el/wiki`` or ``en+el``. The stream of any sample is computed directly, without
going through the samples before it.
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
    """Assigns every sample number to a stream."""

    @property
    def streams(self) -> tuple[str, ...]:
        """Every stream that any sample comes from."""
        ...

    def stream_at(self, sample: int) -> tuple[str, int]:
        """Return the stream of a sample and how many earlier samples came from that stream."""
        ...

    def counts(self, num_samples: int) -> dict[str, int]:
        """Return how many of the first samples come from each stream."""
        ...

    def shares(self, sample: int) -> dict[str, float]:
        """Return the shares of the mixture at a sample; they sum to 1."""
        ...


class MixtureSchedule:
    """Assigns samples at constant shares, which every prefix keeps as exactly as possible.

    The order repeats with a period (the sum of the integer shares), so a lookup costs the same at
    every position and for any number of streams. Within a period the order is Tijdeman's
    ("The chairman assignment problem", 1980): of any first n samples a stream with share s has
    n * s, with an error below one.

    Shares whose common denominator exceeds 65,536 are rounded to it.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        """Compute the order of one period.

        Args:
            weights: A positive weight for each stream; only ratios matter.
        """
        self.streams: tuple[str, ...] = tuple(weights)
        self._shares = _integer_shares(list(weights.values()))
        self.period = int(self._shares.sum())
        self._order = _tijdeman(self._shares)
        self._ranks = np.empty(self.period, dtype=np.int64)
        for number in range(len(self.streams)):
            is_stream = self._order == number
            self._ranks[is_stream] = np.arange(is_stream.sum())

    def stream_at(self, sample: int) -> tuple[str, int]:
        """Return the stream of a sample and how many earlier samples came from that stream."""
        cycle, position = divmod(sample, self.period)
        number = int(self._order[position])
        return self.streams[number], cycle * int(self._shares[number]) + int(self._ranks[position])

    def counts(self, num_samples: int) -> dict[str, int]:
        """Return how many of the first samples come from each stream."""
        cycles, rest = divmod(num_samples, self.period)
        in_rest = np.bincount(self._order[:rest], minlength=len(self.streams))
        counts = cycles * self._shares + in_rest
        return {code: int(n) for code, n in zip(self.streams, counts, strict=True)}

    def shares(self, sample: int) -> dict[str, float]:
        """Return the shares, the same at every sample."""
        del sample
        shares = self._shares / self.period
        return {code: float(share) for code, share in zip(self.streams, shares, strict=True)}


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
    """Return the stream of each position in one period, (period,).

    No stream is ever a whole sample ahead of its share or behind it. Each of its samples has a
    first and a last position at which it may come; of the samples that may come at a position, the
    one with the earliest last position is taken. All are known beforehand, so samples are ranked
    by urgency once and a heap takes the most urgent.
    """
    num, period = len(shares), int(shares.sum())
    if num == 1:
        return np.zeros(period, dtype=np.int64)
    scale = 2 * num - 2
    owners = np.repeat(np.arange(num), shares)
    ranks = np.arange(period) - (np.cumsum(shares) - shares)[owners]
    owner_shares = shares[owners]
    opens = -(-period * (1 + ranks * scale) // (owner_shares * scale))  # positions from 1
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
        for rank in queue[opened:until]:
            heapq.heappush(waiting, rank)
        opened = until
        taken.append(heapq.heappop(waiting))
    return owners[by_urgency[taken]]
