"""What the trackers of a stage are told of its log: every step once, after rewinds too."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console

from langraft.core.errors import MissingExtraError
from langraft.train.trackers import TRACKERS
from langraft.train.tracking.background import BackgroundTracker
from langraft.train.tracking.tracker import TrackedRun, flat_figures


class Tracking:
    """Sends the records of a stage's log to its trackers.

    No tracker can take a step back, so none is told of one that may still be undone. A stop or a
    kill undoes nothing: the resumed run repeats the steps bit for bit, and those that the log had
    are not sent again. A loss spike does undo steps, back to the last checkpoint that was due;
    where a recipe looks for spikes, steps are sent once the next such checkpoint is due.
    """

    def __init__(
        self,
        run: TrackedRun,
        trackers: Iterable[str],
        console: Console,
        *,
        num_steps: int,
        rewinds_to_every: int | None,
    ) -> None:
        """Take the names of trackers; none is opened before ``open``.

        Args:
            run: What the stage is called there.
            trackers: Their names.
            console: For warnings, and for where the run is to be seen.
            num_steps: Of the stage.
            rewinds_to_every: Steps between checkpoints that a spike goes back to; None: never.
        """
        self._run = run
        self._names = list(dict.fromkeys(trackers))
        self._console = console
        self._num_steps = num_steps
        self._every = rewinds_to_every
        self._trackers: list[BackgroundTracker] = []
        self._held: list[Mapping[str, Any]] = []
        self._sent = 0

    def restore(self, logged: Sequence[Mapping[str, Any]]) -> None:
        """Take up the log of earlier sessions, with the steps that this one repeats."""
        self._sent = self._settled(max((record["step"] for record in logged), default=0))
        self._held = [record for record in logged if record["step"] > self._sent]

    def open(self) -> None:
        """Open all trackers, each in its own time."""
        self._trackers = [BackgroundTracker(n, self._run, self._console) for n in self._names]

    def add(self, record: Mapping[str, Any]) -> None:
        """Take a record of the log, and send what can no longer be undone."""
        step = self._settled(record["step"])
        self._held.append(record)
        for held in self._held:
            if self._sent < held["step"] <= step:
                figures = flat_figures({k: v for k, v in held.items() if k != "step"})
                for tracker in self._trackers:
                    tracker.log(held["step"], figures)
        self._held = [held for held in self._held if held["step"] > step]
        self._sent = max(self._sent, step)

    def rewind(self, step: int) -> None:
        """Forget what was undone: all steps after ``step``."""
        self._held = [record for record in self._held if record["step"] <= step]

    def close(self, *, is_finished: bool) -> None:
        """Close all trackers."""
        for tracker in self._trackers:
            tracker.close(is_finished=is_finished)
        self._trackers = []

    def _settled(self, step: int) -> int:
        """Return the last step that nothing can undo once ``step`` is taken."""
        if self._every is None or step == self._num_steps:
            return step
        return step - step % self._every


def summarize(
    run: TrackedRun, trackers: Iterable[str], console: Console, figures: Mapping[str, float]
) -> None:
    """Set the summary of a run that has ended at each of its trackers."""
    opened = [BackgroundTracker(name, run, console) for name in dict.fromkeys(trackers)]
    for tracker in opened:
        tracker.summarize(figures)
        tracker.close(is_finished=True)


def check_trackers(trackers: Iterable[str]) -> None:
    """Refuse trackers whose library is not installed.

    Raises:
        RecipeError: when there is no tracker of this name.
        MissingExtraError: when its library is missing.
    """
    for name in trackers:
        package = TRACKERS[name].package
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "track", f"training.track: {name}")
