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
from langraft.corpus.engine import MOST_DEATHS, AbstractEngine, Task, gave_up
from langraft.corpus.worker import DONE, Worker

_WORTH_A_PROCESS = 2**23  # bytes; starting a worker costs more than reading less


class Local(AbstractEngine):
    """Processes on this machine; with one worker, or little to do, this process itself."""

    name: Literal["local"] = Field(default="local", description="Processes on this machine.")
    workers: int = Field(default=0, ge=0, description="Processes; 0: one for each core.")

    def run(self, tasks: Sequence[Task], folder: Path, done: Callable[[int], None]) -> None:
        """Share the tasks out, the largest first; in this process where that is quicker."""
        del folder
        workers = min(self.workers or os.cpu_count() or 1, len(tasks))
        is_small = not self.workers and sum(task.num_bytes for task in tasks) < _WORTH_A_PROCESS
        if workers > 1 and not is_small:
            _share_out(sorted(tasks, key=lambda task: -task.num_bytes), workers, done)
            return
        for number, task in enumerate(tasks, start=1):
            task()
            done(number)


def _share_out(tasks: Sequence[Task], workers: int, done: Callable[[int], None]) -> None:
    left, deaths, num_done = deque(tasks), Counter[str](), 0
    team = [Worker() for _ in range(workers)]
    try:
        while num_done < len(tasks):
            for worker in team:
                if worker.task is None and left:
                    worker.begin(left.popleft())
            ready = wait([worker.connection for worker in team if worker.task is not None])
            for place, worker in enumerate(team):
                if worker.task is None or worker.connection not in ready:
                    continue
                task, outcome = worker.task, worker.outcome()
                worker.task = None
                if isinstance(outcome, BaseException):
                    raise outcome
                if outcome == DONE:
                    num_done += 1
                    done(num_done)
                    continue
                deaths[task.name] += 1
                if deaths[task.name] == MOST_DEATHS:
                    raise CorpusError(gave_up(task, f"exit status {outcome}"))
                left.appendleft(task)
                worker.stop()
                team[place] = Worker()
    finally:
        for worker in team:
            worker.stop()
