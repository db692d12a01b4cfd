"""The next step's batches are read while this step computes."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from langraft.curriculum.loader import Batch, PackedLoader

Read = Callable[[PackedLoader, int], list[Batch]]


class ReadAhead:
    """Reads one step ahead in a thread, so at most two steps' batches are in memory.

    What is read depends on the loader and the step alone, never on when. An error in reading is
    raised where its step is asked for. Reading another step, or with another loader, discards what
    was read ahead.

    Attributes:
        seconds_waited: For the batches asked for last.
    """

    def __init__(self, read: Read, num_steps: int) -> None:
        """Read batches with ``read``, for at most ``num_steps`` steps."""
        self.seconds_waited = 0.0
        self._read = read
        self._num_steps = num_steps
        self._ahead: tuple[PackedLoader, int, Future[list[Batch]]] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="langraft-read")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def batches(self, loader: PackedLoader, step: int) -> list[Batch]:
        """Return a step's batches and begin to read those of the next."""
        started = time.monotonic()
        of_loader, of_step, found = self._ahead or (None, None, None)
        if found is None or of_loader is not loader or of_step != step:
            found = self._thread.submit(self._read, loader, step)
        batches = found.result()
        self.seconds_waited = time.monotonic() - started
        self._ahead = None
        if step + 1 < self._num_steps:
            following = self._thread.submit(self._read, loader, step + 1)
            self._ahead = loader, step + 1, following
        return batches
