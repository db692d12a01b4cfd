"""Processes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from langraft.corpus.engine import AbstractEngine, Task


class Local(AbstractEngine):
    """Processes on this machine; with one worker, this process itself."""

    name: Literal["local"] = Field(default="local", description="Processes on this machine.")
    workers: int = Field(default=0, ge=0, description="Processes; 0: one for each core.")

    def run(self, tasks: Sequence[Task], folder: Path, done: Callable[[int], None]) -> None:
        """Carry out the tasks one after another."""
        for number, task in enumerate(tasks, start=1):
            task()
            done(number)
