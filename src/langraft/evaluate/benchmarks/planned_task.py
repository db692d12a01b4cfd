"""A task: one part of a benchmark in one language, or whatever the harness calls by a name."""

from __future__ import annotations

from dataclasses import dataclass

from langraft.evaluate.benchmarks.benchmark import AbstractBenchmark
from langraft.evaluate.benchmarks.local_files import LocalFiles, LocalItems


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTask:
    """A task that is to be scored.

    Attributes:
        name: The benchmark's, or the harness's.
        benchmark: None for a task that only the harness knows.
        language: Code; empty for such a task.
        part: One of the benchmark's parts.
        shots: Examples before an item of a base; a tuned model gets none.
        files: Local files; None lets the harness fetch the data.
        limit_each: First items of each subset of a benchmark that has subsets; None for the limit
            of all tasks.
    """

    name: str
    benchmark: AbstractBenchmark | None = None
    language: str = ""
    part: str = ""
    shots: int = 0
    files: LocalFiles | None = None
    limit_each: int | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.name, self.part, self.language)))

    @property
    def data(self) -> str:
        """Where the items come from, in words."""
        return self.files.test.name if self.files else "hub"

    def read(self) -> LocalItems | None:
        """Return the items of local files; None where the harness fetches them.

        Raises:
            EvaluationError: when a line is broken, or there are too few records.
        """
        return self.files.read(self.shots) if self.files else None
