"""Shares that move in straight lines, or that no small period can hold.

Shape suffixes: K = plateaus, L = languages.
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
    """Shares that go from one mixture to another in straight lines, over so many samples.

    The stretch is cut into at most 1,024 plateaus. A plateau repeats a cycle of at most 1,024
    samples, with whole numbers of turns of each language; what rounding takes from a language
    here, it gives back on the next plateau. So at the end of every plateau a language has had its
    turns to within one repetition: in stretches up to a million samples a cycle stands once, and
    that is one turn. Within a cycle the order is that of ``MixtureSchedule``.

    Equal mixtures at both ends make a constant share without the least share of 1 / 65,536 that
    ``MixtureSchedule`` has.
    """

    def __init__(
        self, before: Mapping[str, float], after: Mapping[str, float], num_samples: int
    ) -> None:
        """Give every plateau its turns.

        Args:
            before: Weights at the first sample; a language that is absent has none.
            after: Weights after the last sample.
            num_samples: Length of the stretch, at least 1; what lies beyond has no order.
        """
        self.languages: tuple[str, ...] = tuple(dict.fromkeys((*before, *after)))
        self._num_samples = num_samples
        self._before_L = self._normalised(before)
        self._slope_L = (self._normalised(after) - self._before_L) / num_samples
        self._cycle = min(MAX_CYCLE, math.ceil(num_samples / MAX_PLATEAUS))
        num_cycles = math.ceil(num_samples / self._cycle)
        num_plateaus = min(MAX_PLATEAUS, num_cycles)
        self._first_cycle_K = np.arange(num_plateaus + 1) * num_cycles // num_plateaus
        self._turns_KL, self._earlier_KL = self._share_out()
        self._order = lru_cache(maxsize=64)(self._make_order)

    def turn(self, sample: int) -> tuple[str, int]:
        """Return the language of a sample and how many earlier samples were of that language."""
        plateau, cycle, place = self._locate(sample)
        language, rank = self._order(plateau).turn(place)
        number = self.languages.index(language)
        earlier = self._earlier_KL[plateau, number] + cycle * self._turns_KL[plateau, number]
        return language, int(earlier) + rank

    def counts(self, num_samples: int) -> dict[str, int]:
        """Return how many of the first samples belong to each language."""
        plateau, cycle, place = self._locate(num_samples)
        counts_L = self._earlier_KL[plateau] + cycle * self._turns_KL[plateau]
        counts = {code: int(n) for code, n in zip(self.languages, counts_L, strict=True)}
        for code, count in self._order(plateau).counts(place).items():
            counts[code] += count
        return counts

    def shares(self, sample: int) -> dict[str, float]:
        """Return the shares that the straight lines have at a sample."""
        shares_L = self._before_L + self._slope_L * min(sample, self._num_samples)
        return {code: float(share) for code, share in zip(self.languages, shares_L, strict=True)}

    def _normalised(self, weights: Mapping[str, float]) -> NDArray[np.float64]:
        given_L = np.array([weights.get(code, 0.0) for code in self.languages])
        return given_L / given_L.sum()

    def _locate(self, sample: int) -> tuple[int, int, int]:
        """Return the plateau of a sample, its cycle there and its place in the cycle."""
        cycle, place = divmod(sample, self._cycle)
        starts_K = self._first_cycle_K[:-1]
        plateau = int(np.searchsorted(starts_K, cycle, side="right")) - 1
        return plateau, cycle - int(starts_K[plateau]), place

    def _make_order(self, plateau: int) -> MixtureSchedule:
        turns_L = self._turns_KL[plateau]
        return MixtureSchedule(
            {self.languages[n]: int(turns_L[n]) for n in np.flatnonzero(turns_L)}
        )

    def _share_out(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return turns in a cycle of each plateau, and turns before each plateau, both (K, L)."""
        repeats_K = np.diff(self._first_cycle_K)
        ends_K = self._first_cycle_K[1:] * self._cycle
        due_KL = ends_K[:, None] * self._before_L + 0.5 * ends_K[:, None] ** 2.0 * self._slope_L
        shares_KL = self._before_L + ends_K[:, None] * self._slope_L
        turns_KL = np.zeros(due_KL.shape, dtype=np.int64)
        earlier_KL = np.zeros(due_KL.shape, dtype=np.int64)
        had_L = np.zeros(len(self.languages), dtype=np.int64)
        for plateau, repeats in enumerate(repeats_K):
            earlier_KL[plateau] = had_L
            wanted_L = (due_KL[plateau] - had_L) / repeats
            turns_KL[plateau] = _whole_turns(wanted_L, shares_KL[plateau], self._cycle)
            had_L = had_L + turns_KL[plateau] * repeats
        return turns_KL, earlier_KL


def _whole_turns(
    wanted_L: NDArray[np.float64], shares_L: NDArray[np.float64], cycle: int
) -> NDArray[np.int64]:
    """Round turns to whole ones that fill a cycle.

    Whole turns are given as they are. What is then left goes, as in Tijdeman's rule, to those that
    will soonest be a whole turn behind, not to the largest fractions: many small shares would else
    wait for ever longer.
    """
    turns_L = np.floor(np.maximum(wanted_L, 0)).astype(np.int64)
    rest = cycle - int(turns_L.sum())
    fraction_L = wanted_L - turns_L
    if rest > 0:
        least = 1 / max(1, 2 * len(wanted_L) - 2)
        with np.errstate(divide="ignore", invalid="ignore"):
            wait_L = np.where(shares_L > 0, (1 - least - fraction_L) / shares_L, np.inf)
        is_early_L = fraction_L < least
        turns_L[np.lexsort((-fraction_L, wait_L, is_early_L))[:rest]] += 1
    for _ in range(-rest):  # a language ahead of its share leaves the others less than they want
        turns_L[np.argmin(np.where(turns_L > 0, fraction_L, np.inf))] -= 1
    return turns_L
