"""Processes on this machine."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from pathlib import Path
from typing import Literal

from pydantic import Field

from langraft.core.errors import CorpusError
from langraft.corpus.engine import (
    MAX_WORKER_DEATHS,
    AbstractEngine,
    CorpusTask,
    worker_deaths_message,
)
from langraft.corpus.worker import DONE, Worker

_MIN_PARALLEL_BYTES = 2**23  # reading less takes less time than starting a worker


class Local(AbstractEngine):
    """Processes on this machine; with one worker, or little to do, this process itself."""

    name: Literal["local"] = Field(default="local", description="Processes on this machine.")
    workers: int = Field(default=0, ge=0, le=1024, description="Processes; 0: one for each core.")

    def run(self, tasks: Sequence[CorpusTask], folder: Path, done: Callable[[int], None]) -> None:
        """Run the tasks in worker processes, largest first, or in this one where that is faster."""
        del folder
        workers = min(self.workers or os.cpu_count() or 1, len(tasks))
        is_small = not self.workers and sum(task.num_bytes for task in tasks) < _MIN_PARALLEL_BYTES
        if workers > 1 and not is_small:
            _run_in_workers(sorted(tasks, key=lambda task: -task.num_bytes), workers, done)
            return
        for number, task in enumerate(tasks, start=1):
            task()
            done(number)


def _run_in_workers(
    tasks: Sequence[CorpusTask], num_workers: int, done: Callable[[int], None]
) -> None:
    waiting, deaths, num_done = deque(tasks), Counter[str](), 0
    workers = [Worker() for _ in range(num_workers)]
    try:
        while num_done < len(tasks):
            for worker in workers:
                if worker.task is None and waiting:
                    worker.submit(waiting.popleft())
            ready = wait([worker.connection for worker in workers if worker.task is not None])
            for index, worker in enumerate(workers):
                if worker.task is None or worker.connection not in ready:
                    continue
                task, result = worker.task, worker.result()
                worker.task = None
                if isinstance(result, BaseException):
                    raise result
                if result == DONE:
                    num_done += 1
                    done(num_done)
                    continue
                deaths[task.name] += 1
                if deaths[task.name] == MAX_WORKER_DEATHS:
                    raise CorpusError(worker_deaths_message(task, f"exit status {result}"))
                waiting.appendleft(task)
                worker.stop()
                workers[index] = Worker()
    finally:
        for worker in workers:
            worker.stop()
