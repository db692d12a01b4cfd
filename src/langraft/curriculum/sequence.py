"""A schedule of schedules that follow each other."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from langraft.curriculum.schedule import Schedule


class SequenceSchedule:
    """Schedules that follow each other; each stream continues where the one before left it.

    A later schedule does not change the samples before it.
    """

    def __init__(self, parts: Sequence[tuple[int, Schedule]]) -> None:
        """Count the samples of each stream before each schedule.

        Args:
            parts: Schedules with the sample each begins at: the first at 0, then ascending.
        """
        self._starts = [start for start, _ in parts]
        self._schedules = [schedule for _, schedule in parts]
        found = dict.fromkeys(code for s in self._schedules for code in s.streams)
        self.streams: tuple[str, ...] = tuple(found)
        self._earlier = [dict.fromkeys(self.streams, 0)]
        for number, schedule in enumerate(self._schedules[:-1]):
            counts = schedule.counts(self._starts[number + 1] - self._starts[number])
            self._earlier.append(_add(self._earlier[-1], counts))

    def stream_at(self, sample: int) -> tuple[str, int]:
        """Return the stream of a sample and how many earlier samples came from that stream."""
        part = self._part(sample)
        stream, rank = self._schedules[part].stream_at(sample - self._starts[part])
        return stream, self._earlier[part][stream] + rank

    def counts(self, num_samples: int) -> dict[str, int]:
        """Return how many of the first samples come from each stream."""
        part = self._part(num_samples)
        counts = self._schedules[part].counts(num_samples - self._starts[part])
        return _add(self._earlier[part], counts)

    def shares(self, sample: int) -> dict[str, float]:
        """Return the shares at a sample, 0 for streams that only other schedules have."""
        part = self._part(sample)
        shares = self._schedules[part].shares(sample - self._starts[part])
        return dict.fromkeys(self.streams, 0.0) | shares

    def _part(self, sample: int) -> int:
        return bisect_right(self._starts, sample) - 1


def _add(first: dict[str, int], second: dict[str, int]) -> dict[str, int]:
    return {code: count + second.get(code, 0) for code, count in first.items()}
