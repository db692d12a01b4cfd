"""The mixture index: (seed, sample number) -> (language, row), by arithmetic alone.

What is called a language here is any stream of a mixture: ``el``, ``el/wiki`` or ``en+el``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from langraft.core.errors import CorpusError
from langraft.core.streams import stream_name
from langraft.curriculum.permutation import permute
from langraft.curriculum.schedule import Schedule

MANY_EPOCHS = 4.0  # up to here repeated text is nearly as good as new (arXiv:2305.16264)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sample comes from.

    Attributes:
        language: Its language.
        epoch: How often the language's text has been read through before, from 0.
        row: Number of the row in the language's token stream.
    """

    language: str
    epoch: int
    row: int


class MixtureIndex:
    """Finds the row of any sample without looking at the samples before it.

    Every row of a language is used once before any is used again; each epoch shuffles anew.
    """

    def __init__(
        self, schedule: Schedule, num_rows: Mapping[str, int], seed: int, stage: str
    ) -> None:
        """Index a stage.

        Args:
            schedule: Whose turn it is.
            num_rows: Packed rows of each language.
            seed: Of the run.
            stage: Name of the stage; stages shuffle independently.

        Raises:
            CorpusError: when a language of the mixture has not one whole row.
        """
        for code in schedule.languages:
            if num_rows.get(code, 0) < 1:
                raise CorpusError(
                    f"{stream_name(code)} ({code}) has fewer tokens than one packed row of the "
                    f"stage {stage!r}. Give more text, lower training.sequence_length, or take "
                    f"{code} out of the mixture."
                )
        self.schedule = schedule
        self._num_rows = {code: num_rows[code] for code in schedule.languages}
        self._key = f"{seed}/{stage}"
        self._left_out: list[tuple[int, dict[str, int]]] = []

    def locate(self, sample: int) -> Place:
        """Return where sample number ``sample`` (from 0) comes from."""
        language, turn = self.schedule.turn(sample)
        turn += sum(turns[language] for first, turns in self._left_out if first <= sample)
        epoch, position = divmod(turn, self._num_rows[language])
        row = permute(position, self._num_rows[language], f"{self._key}/{language}/{epoch}")
        return Place(language, epoch, row)

    def without(self, windows: Sequence[range]) -> MixtureIndex:
        """Return an index that leaves out the rows that some samples would have read.

        From a window's first sample on, every language goes on with its rows after the window:
        shares stay on schedule, and what was left out comes again with the next epoch at most.

        Args:
            windows: Sample numbers, in the order in which they are left out; each begins at or
                after the one before it.
        """
        index = copy.copy(self)
        index._left_out = []
        for window in windows:
            before, after = (self.schedule.counts(at) for at in (window.start, window.stop))
            turns = {code: after[code] - before[code] for code in after}
            index._left_out.append((window.start, turns))
        return index

    def epochs(self, num_samples: int) -> dict[str, float]:
        """Return how often each language's text is read through within so many samples."""
        counts = self.schedule.counts(num_samples)
        return {code: counts[code] / self._num_rows[code] for code in counts}
