"""Signals and grouped errors of asyncio, turned into one error of ours."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Generator
from pathlib import Path

from langraft.core.errors import InterruptedRunError, LangraftError


@contextlib.contextmanager
def stop_on_signals(out: Path) -> Generator[None]:
    """Cancel the task that runs in here when SIGINT or SIGTERM comes.

    Raises:
        InterruptedRunError: in place of the cancellation; it names the run's folder.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    numbers = (signal.SIGINT, signal.SIGTERM)
    try:
        for number in numbers:
            loop.add_signal_handler(number, stop, number)
    except (ValueError, RuntimeError):  # not the main thread: the caller handles signals
        yield
        return
    try:
        yield
    except asyncio.CancelledError:
        if not received:
            raise
        raise InterruptedRunError(
            received[0],
            f"Stopped. All answers that came are in {out}. Run the same command again to go on.",
        ) from None
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def first_langraft_error(group: ExceptionGroup[Exception]) -> Exception:
    """Return the first error of ours in a group, or the first of any kind."""
    own, others = group.split(LangraftError)
    error: Exception | None = own or others
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert error is not None
    return error
