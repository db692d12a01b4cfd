"""Cache of benchmark scores, by all that a score depends on.

RUN/cache/tasks/KEY.json
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from langraft.core.errors import ArtifactError
from langraft.core.files import fingerprint, read_json, write_json
from langraft.core.system_errors import explain_disk_errors
from langraft.evaluate.benchmarks.harness_tasks import config_hash
from langraft.evaluate.benchmarks.planned_task import PlannedTask
from langraft.evaluate.benchmarks.task_scores import TaskScore


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreCache:
    """The cached scores of one model.

    Attributes:
        folder: Shared by all models of a run.
        model: Fingerprint of the model.
        report: Receives messages about what was scored.
    """

    folder: Path
    model: str
    report: Callable[[str], None]

    def key(
        self,
        planned: PlannedTask,
        tasks: Mapping[str, Any],
        *,
        limit: int | None,
        template: str | None,
    ) -> str:
        """Return a hash of what a score depends on: model, task, data, template and harness."""
        return fingerprint(
            {
                "model": self.model,
                "benchmark": [planned.name, planned.part, planned.language],
                "metric": planned.benchmark.metric if planned.benchmark else "",
                "tasks": {name: config_hash(task) for name, task in tasks.items()},
                "data": planned.files.fingerprints() if planned.files else "hub",
                "limit": limit,
                "template": template,
                "lm-eval": importlib.metadata.version("lm-eval"),
            }
        )

    def get(self, key: str) -> list[TaskScore] | None:
        """Return cached scores, or None; a damaged file is reported and counts as absent."""
        path = self.folder / f"{key}.json"
        if not path.is_file():
            return None
        try:
            return read_json(path, list[TaskScore])
        except ArtifactError as error:
            self.report(f"{path} is damaged and is computed again ({error})")
            return None

    def put(self, key: str, scores: Sequence[TaskScore]) -> None:
        """Write scores atomically.

        Raises:
            ArtifactError: when the disk is full or the folder cannot be written.
        """
        with explain_disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / f"{key}.json", [asdict(score) for score in scores])
