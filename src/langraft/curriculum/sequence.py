"""One schedule after another."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from langraft.curriculum.schedule import Schedule


class SequenceSchedule:
    """Schedules that take over from each other; running numbers of languages go on.

    What comes later changes nothing before it.
    """

    def __init__(self, parts: Sequence[tuple[int, Schedule]]) -> None:
        """Line schedules up.

        Args:
            parts: Each with the sample it begins at: the first at 0, then ascending.
        """
        self._starts = [start for start, _ in parts]
        self._schedules = [schedule for _, schedule in parts]
        found = dict.fromkeys(code for s in self._schedules for code in s.languages)
        self.languages: tuple[str, ...] = tuple(found)
        self._earlier = [dict.fromkeys(self.languages, 0)]
        for number, schedule in enumerate(self._schedules[:-1]):
            counts = schedule.counts(self._starts[number + 1] - self._starts[number])
            self._earlier.append(_add(self._earlier[-1], counts))

    def turn(self, sample: int) -> tuple[str, int]:
        """Return the language of a sample and how many earlier samples were of that language."""
        part = self._part(sample)
        language, rank = self._schedules[part].turn(sample - self._starts[part])
        return language, self._earlier[part][language] + rank

    def counts(self, num_samples: int) -> dict[str, int]:
        """Return how many of the first samples belong to each language."""
        part = self._part(num_samples)
        counts = self._schedules[part].counts(num_samples - self._starts[part])
        return _add(self._earlier[part], counts)

    def shares(self, sample: int) -> dict[str, float]:
        """Return the shares at a sample, 0 for a language that comes earlier or later alone."""
        part = self._part(sample)
        shares = self._schedules[part].shares(sample - self._starts[part])
        return dict.fromkeys(self.languages, 0.0) | shares

    def _part(self, sample: int) -> int:
        return bisect_right(self._starts, sample) - 1


def _add(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
    return {code: count + second.get(code, 0) for code, count in first.items()}
