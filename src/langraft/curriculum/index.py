"""The mixture index: from (seed, sample number) to (stream, row), computed directly.

Streams are ``el``, ``el/wiki`` or ``en+el``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from langraft.core.errors import CorpusError
from langraft.core.streams import stream_name
from langraft.curriculum.permutation import permute
from langraft.curriculum.schedule import Schedule

MANY_EPOCHS = 4.0  # repeated so often, text is nearly as good as new (arXiv:2305.16264)


@dataclass(frozen=True, slots=True)
class RowLocation:
    """Where a sample comes from.

    Attributes:
        stream: Its stream.
        epoch: Complete passes over the stream's text before it, from 0.
        row: Number of the row in the stream's tokens.
    """

    stream: str
    epoch: int
    row: int


class MixtureIndex:
    """Locates the row of any sample without going through the samples before it.

    Every row of a stream is used once an epoch, in a new shuffle each time.
    """

    def __init__(
        self, schedule: Schedule, num_rows: Mapping[str, int], seed: int, stage: str
    ) -> None:
        """Index a stage.

        Args:
            schedule: Assigns samples to streams.
            num_rows: Packed rows of each stream.
            seed: Seed of the run.
            stage: Name of the stage; stages shuffle independently.

        Raises:
            CorpusError: when a stream of the mixture has less than one row.
        """
        for code in schedule.streams:
            if num_rows.get(code, 0) < 1:
                raise CorpusError(
                    f"{stream_name(code)} ({code}) has fewer tokens than one packed row of the "
                    f"stage {stage!r}. Give more text, lower training.sequence_length, or take "
                    f"{code} out of the mixture."
                )
        self.schedule = schedule
        self._num_rows = {code: num_rows[code] for code in schedule.streams}
        self._key = f"{seed}/{stage}"
        self._skipped: list[tuple[int, dict[str, int]]] = []  # (first sample, rows by stream)

    def locate(self, sample: int) -> RowLocation:
        """Return where sample number ``sample`` (from 0) comes from."""
        stream, rank = self.schedule.stream_at(sample)
        rank += sum(rows[stream] for first, rows in self._skipped if first <= sample)
        epoch, position = divmod(rank, self._num_rows[stream])
        row = permute(position, self._num_rows[stream], f"{self._key}/{stream}/{epoch}")
        return RowLocation(stream, epoch, row)

    def without(self, windows: Sequence[range]) -> MixtureIndex:
        """Return an index that skips the rows that some samples would have read.

        From a window's first sample on, every stream continues with its rows after the window:
        shares stay on schedule, and skipped rows come again in the next epoch.

        Args:
            windows: Sample numbers to skip, in order of their beginning.
        """
        index = copy.copy(self)
        index._skipped = []
        for window in windows:
            before, after = (self.schedule.counts(at) for at in (window.start, window.stop))
            rows = {code: after[code] - before[code] for code in after}
            index._skipped.append((window.start, rows))
        return index

    def epochs(self, num_samples: int) -> dict[str, float]:
        """Return how often the first samples read each stream's text."""
        counts = self.schedule.counts(num_samples)
        return {code: counts[code] / self._num_rows[code] for code in counts}
