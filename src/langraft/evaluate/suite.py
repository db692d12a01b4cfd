"""The contract of a benchmark suite: a file in ``suites/``, named in ``evaluate.suites``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from langraft.core.document import Probe


class AbstractSuite(ABC):
    """Multiple-choice questions in some languages."""

    languages: ClassVar[tuple[str, ...]]

    @abstractmethod
    def probes(self, language: str) -> list[Probe]:
        """Return the questions in one of ``languages``."""
