"""The contract of a suite: a file in ``suites/``, named in ``evaluate.suites``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from langraft.core.document import Probe


class AbstractSuite:
    """What a recipe asks for by one name: probes of ours or benchmarks of the harness."""


class AbstractProbeSuite(AbstractSuite, ABC):
    """Multiple-choice questions in some languages, which we score ourselves."""

    languages: ClassVar[tuple[str, ...]]

    @abstractmethod
    def probes(self, language: str) -> list[Probe]:
        """Return the questions in one of ``languages``."""


class AbstractBenchmarkSuite(AbstractSuite):
    """Benchmarks of a paper with its shots, which lm-evaluation-harness scores.

    Attributes:
        benchmarks: Files of ``tasks/``, each with the examples shown before an item.
    """

    benchmarks: ClassVar[Mapping[str, int]]
