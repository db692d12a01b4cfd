"""Who does the corpus work: the contract that every file in ``engines/`` keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from langraft.core.corpus import EngineSettings

MOST_DEATHS = 3  # of workers at the same task, before it is given up


class Task(Protocol):
    """Work that is done again only when it is not finished; can be sent to other processes."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    @property
    def num_bytes(self) -> int:
        """How much there is to read, 0 where it is not known."""
        ...

    def __call__(self) -> None:
        """Do it; files of its own only, complete ones last."""
        ...


class AbstractEngine(EngineSettings, ABC):
    """Carries out tasks that do not depend on each other."""

    @abstractmethod
    def run(self, tasks: Sequence[Task], folder: Path, done: Callable[[int], None]) -> None:
        """Carry out all tasks; return when the last one is finished.

        A task whose worker dies is begun again by another worker; the others go on.

        Args:
            tasks: In any order, in any process that sees the same files.
            folder: For the engine's own files, on a file system that all workers share.
            done: Called with how many are finished, whenever that grows.

        Raises:
            LangraftError: what a task raised.
            CorpusError: when workers died ``MOST_DEATHS`` times at the same task.
        """


def gave_up(task: Task, how: str) -> str:
    """Say that workers died again and again."""
    return (
        f"Workers died {MOST_DEATHS} times at {task.name} ({how}). A worker that is killed has "
        "mostly run out of memory: give it more, or fewer workers. Finished parts are kept; the "
        "same command goes on."
    )
