"""The schedule of shares that change linearly, or that have no small common denominator.

Shape suffixes: K = plateaus, L = streams.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from langraft.curriculum.schedule import MixtureSchedule

MAX_PLATEAUS = 1024
MAX_CYCLE = 1024


class RampSchedule:
    """Assigns samples at shares that change linearly from one mixture to another.

    The samples are divided into at most 1,024 plateaus of constant shares. A plateau repeats a
    cycle of at most 1,024 samples, with a whole number of samples of each stream; the next plateau
    corrects for the rounding. So at the end of every plateau a stream is off by at most one sample
    for each repetition of a cycle; of up to a million samples in all, cycles are not repeated.
    Within a cycle the order is that of ``MixtureSchedule``.

    Equal mixtures at both ends give constant shares without the least share of 1 / 65,536 that
    ``MixtureSchedule`` has.
    """

    def __init__(
        self, before: Mapping[str, float], after: Mapping[str, float], num_samples: int
    ) -> None:
        """Compute the number of samples of each stream in every plateau.

        Args:
            before: Weights at the first sample; an absent stream has weight 0.
            after: Weights after the last sample.
            num_samples: Length, at least 1; samples beyond it have no defined order.
        """
        self.streams: tuple[str, ...] = tuple(dict.fromkeys((*before, *after)))
        self._num_samples = num_samples
        self._before_L = self._normalised(before)
        self._slope_L = (self._normalised(after) - self._before_L) / num_samples
        self._cycle = min(MAX_CYCLE, math.ceil(num_samples / MAX_PLATEAUS))
        num_cycles = math.ceil(num_samples / self._cycle)
        num_plateaus = min(MAX_PLATEAUS, num_cycles)
        self._first_cycle_K = np.arange(num_plateaus + 1) * num_cycles // num_plateaus
        self._samples_KL, self._earlier_KL = self._allocate()
        self._order = lru_cache(maxsize=64)(self._cycle_order)

    def stream_at(self, sample: int) -> tuple[str, int]:
        """Return the stream of a sample and how many earlier samples came from that stream."""
        plateau, cycle, position = self._locate(sample)
        stream, rank = self._order(plateau).stream_at(position)
        number = self.streams.index(stream)
        earlier = self._earlier_KL[plateau, number] + cycle * self._samples_KL[plateau, number]
        return stream, int(earlier) + rank

    def counts(self, num_samples: int) -> dict[str, int]:
        """Return how many of the first samples come from each stream."""
        plateau, cycle, position = self._locate(num_samples)
        counts_L = self._earlier_KL[plateau] + cycle * self._samples_KL[plateau]
        counts = {code: int(n) for code, n in zip(self.streams, counts_L, strict=True)}
        for code, count in self._order(plateau).counts(position).items():
            counts[code] += count
        return counts

    def shares(self, sample: int) -> dict[str, float]:
        """Return the shares at a sample by linear interpolation."""
        shares_L = self._before_L + self._slope_L * min(sample, self._num_samples)
        return {code: float(share) for code, share in zip(self.streams, shares_L, strict=True)}

    def _normalised(self, weights: Mapping[str, float]) -> NDArray[np.float64]:
        given_L = np.array([weights.get(code, 0.0) for code in self.streams])
        return given_L / given_L.sum()

    def _locate(self, sample: int) -> tuple[int, int, int]:
        """Return the plateau of a sample, its cycle there and its position in the cycle."""
        cycle, position = divmod(sample, self._cycle)
        starts_K = self._first_cycle_K[:-1]
        plateau = int(np.searchsorted(starts_K, cycle, side="right")) - 1
        return plateau, cycle - int(starts_K[plateau]), position

    def _cycle_order(self, plateau: int) -> MixtureSchedule:
        samples_L = self._samples_KL[plateau]
        return MixtureSchedule(
            {self.streams[n]: int(samples_L[n]) for n in np.flatnonzero(samples_L)}
        )

    def _allocate(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return samples in a cycle of each plateau, and before each plateau, both (K, L)."""
        repeats_K = np.diff(self._first_cycle_K)
        ends_K = self._first_cycle_K[1:] * self._cycle
        due_KL = ends_K[:, None] * self._before_L + 0.5 * ends_K[:, None] ** 2.0 * self._slope_L
        shares_KL = self._before_L + ends_K[:, None] * self._slope_L
        samples_KL = np.zeros(due_KL.shape, dtype=np.int64)
        earlier_KL = np.zeros(due_KL.shape, dtype=np.int64)
        had_L = np.zeros(len(self.streams), dtype=np.int64)
        for plateau, repeats in enumerate(repeats_K):
            earlier_KL[plateau] = had_L
            wanted_L = (due_KL[plateau] - had_L) / repeats
            samples_KL[plateau] = _round_samples(wanted_L, shares_KL[plateau], self._cycle)
            had_L = had_L + samples_KL[plateau] * repeats
        return samples_KL, earlier_KL


def _round_samples(
    wanted_L: NDArray[np.float64], shares_L: NDArray[np.float64], cycle: int
) -> NDArray[np.int64]:
    """Round numbers of samples to integers that sum to ``cycle``, (L,).

    After rounding down, the rest goes to the streams that would soonest be a whole sample behind,
    as in Tijdeman's rule, not to the largest fractions, with which many streams of small shares
    would wait longer and longer.
    """
    samples_L = np.floor(np.maximum(wanted_L, 0)).astype(np.int64)
    rest = cycle - int(samples_L.sum())
    fraction_L = wanted_L - samples_L
    if rest > 0:
        least = 1 / max(1, 2 * len(wanted_L) - 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            wait_L = np.where(shares_L > 0, (1 - least - fraction_L) / shares_L, np.inf)
        is_early_L = fraction_L < least
        samples_L[np.lexsort((-fraction_L, wait_L, is_early_L))[:rest]] += 1
    for _ in range(-rest):  # a stream ahead of its share leaves too little for the others
        samples_L[np.argmin(np.where(samples_L > 0, fraction_L, np.inf))] -= 1
    return samples_L
