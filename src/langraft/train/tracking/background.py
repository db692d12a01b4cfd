"""One tracker in a thread of its own: whatever befalls it, training goes on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping

from rich.console import Console

from langraft.train.trackers import TRACKERS
from langraft.train.tracking.credentials import without_credentials
from langraft.train.tracking.tracker import AbstractTracker, TrackedRun

CLOSE_SECONDS = 60.0
_MOST_WAITING = 10_000  # calls, when a tracker is slower than the training
_MOST_CHARACTERS = 300  # of a library's message


class BackgroundTracker:
    """Passes calls on to a tracker in their order, and never waits for it before the end.

    The first error ends the tracking with one warning; later calls do nothing.
    """

    def __init__(self, name: str, run: TrackedRun, console: Console) -> None:
        """Start the thread, which opens the tracker."""
        self._name = name
        self._run = run
        self._console = console
        self._calls: queue.Queue[Callable[[AbstractTracker], None] | None] = queue.Queue()
        self._has_failed = False
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Log the figures of a step."""
        self._call(lambda tracker: tracker.log(step, figures))

    def summarize(self, figures: Mapping[str, float]) -> None:
        """Set figures that stand for the whole run."""
        self._call(lambda tracker: tracker.summarize(figures))

    def close(self, *, is_finished: bool) -> None:
        """Let the tracker send what is left, for a minute at most."""
        self._call(lambda tracker: tracker.close(is_finished=is_finished))
        self._calls.put(None)
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            self._give_up(f"it did not answer for {CLOSE_SECONDS:.0f} s")

    def _call(self, call: Callable[[AbstractTracker], None]) -> None:
        if self._has_failed:
            return
        if self._calls.qsize() >= _MOST_WAITING:
            self._give_up(f"{_MOST_WAITING:,} steps wait for it")
            return
        self._calls.put(call)

    def _work(self) -> None:
        try:
            self._run.folder.mkdir(parents=True, exist_ok=True)
            tracker = TRACKERS[self._name](self._run)
            self._print(f"  {self._name}: {tracker.where}")
            while (call := self._calls.get()) is not None:
                call(tracker)
        except Exception as error:  # libraries raise many kinds of errors
            first_line = str(error).strip().partition("\n")[0] or type(error).__name__
            self._give_up(first_line[:_MOST_CHARACTERS].rstrip("."))

    def _give_up(self, reason: str) -> None:
        """Warn once, and do nothing from now on."""
        if self._has_failed:
            return
        self._has_failed = True
        self._print(
            f"  Warning: {self._name} is told no more of {self._run.name}: "
            f"{without_credentials(reason)}. Training goes on; log.jsonl has every step."
        )

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
