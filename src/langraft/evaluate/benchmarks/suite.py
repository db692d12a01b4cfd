"""The base classes of suites: files in ``suites/``, named in ``evaluate.suites``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from langraft.core.document import Probe


class AbstractSuite:
    """Probes of ours, or benchmarks of the harness, that a recipe names together."""


class AbstractProbeSuite(AbstractSuite, ABC):
    """Multiple-choice questions in some languages, scored by ``score_probes``."""

    languages: ClassVar[tuple[str, ...]]

    @abstractmethod
    def probes(self, language: str) -> list[Probe]:
        """Return the questions in one of ``languages``."""


class AbstractBenchmarkSuite(AbstractSuite):
    """The benchmarks of a paper with its shots, scored by lm-evaluation-harness.

    Attributes:
        benchmarks: Files of ``tasks/``, each with the number of examples before an item.
    """

    benchmarks: ClassVar[Mapping[str, int]]
