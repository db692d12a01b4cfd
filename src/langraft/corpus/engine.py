"""Who does the corpus work: the contract that every file in ``engines/`` keeps."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langraft.core.corpus import EngineSettings

Task = Callable[[], Any]
"""Picklable; writes its own files, the mark that it is finished last."""


class AbstractEngine(EngineSettings, ABC):
    """Carries out tasks that do not depend on each other."""

    @abstractmethod
    def run(self, tasks: Sequence[Task], folder: Path, done: Callable[[int], None]) -> None:
        """Carry out all tasks; return when the last one is finished.

        Args:
            tasks: In any order, in any process that sees the same files.
            folder: For the engine's own files, on a file system that all workers share.
            done: Called with how many are finished, whenever that grows.

        Raises:
            LangraftError: what a task raised.
            CorpusError: when a worker died again and again.
        """
