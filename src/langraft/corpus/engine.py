"""The interface of engines, which run the corpus step's tasks; ``engines/`` has them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from langraft.core.settings.corpus import EngineSettings

MAX_WORKER_DEATHS = 3  # at the same task, before the run stops


class CorpusTask(Protocol):
    """A piece of work that can be pickled; running a finished one again does nothing."""

    @property
    def name(self) -> str:
        """Name for messages."""
        ...

    @property
    def num_bytes(self) -> int:
        """Bytes to read, 0 if unknown; engines run large tasks first."""
        ...

    def __call__(self) -> None:
        """Do the work; write only the task's own files, and the one that marks it finished last."""
        ...


class AbstractEngine(EngineSettings, ABC):
    """Runs tasks that do not depend on each other."""

    @abstractmethod
    def run(self, tasks: Sequence[CorpusTask], folder: Path, done: Callable[[int], None]) -> None:
        """Run all tasks; return when the last one is finished.

        A task whose worker dies is retried by another worker; the others continue.

        Args:
            tasks: Tasks in any order; workers must see the same files.
            folder: For the engine's own files, on a file system that all workers share.
            done: Called with the number of finished tasks whenever it grows.

        Raises:
            LangraftError: the error that a task raised.
            CorpusError: when workers died ``MAX_WORKER_DEATHS`` times at the same task.
        """


def worker_deaths_message(task: CorpusTask, how: str) -> str:
    """Return the message for a task at which workers died too often; ``how`` is what was seen."""
    return (
        f"Workers died {MAX_WORKER_DEATHS} times at {task.name} ({how}). A killed worker has "
        "usually run out of memory: give workers more of it, or use fewer. Finished parts are "
        "kept; run the same command to continue."
    )
