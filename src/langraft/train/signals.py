"""Signals that ask for a stop, noted until a step is done."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Generator


class StopSignal:
    """The signal that asked for a stop, once one has."""

    number: int | None = None


@contextlib.contextmanager
def note_stop_signals() -> Generator[StopSignal]:
    """Note SIGTERM and SIGINT instead of dying, so that the step can finish and be saved."""
    seen = StopSignal()

    def note(number: int, frame: object) -> None:
        del frame
        seen.number = number

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    except ValueError:  # not the main thread: the caller handles signals
        yield seen
        return
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
