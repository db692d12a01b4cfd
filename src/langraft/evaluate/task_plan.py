"""Which benchmarks a recipe asks for, in which languages, and which of them can be scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langraft.core.errors import EvaluationError, did_you_mean
from langraft.core.recipe import Evaluation
from langraft.evaluate.benchmark import AbstractBenchmark
from langraft.evaluate.benchmark_data import LocalData, LocalFiles, find_files, read_files
from langraft.evaluate.harness_tasks import (
    harness_names,
    require_harness,
    tasks_that_run_code,
)
from langraft.evaluate.suite import AbstractBenchmarkSuite
from langraft.evaluate.suites import SUITES
from langraft.evaluate.task_score import NotRun
from langraft.evaluate.tasks import BENCHMARKS

NAMED = "tasks"  # the suite of what evaluate.tasks names


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTask:
    """A benchmark in one language, to be scored.

    Attributes:
        name: The benchmark's.
        benchmark: None for a task that only the harness knows.
        language: Empty for such a task.
        part: One of the benchmark's.
        shots: Examples before an item of a base; a tuned model gets none.
        files: None lets the harness fetch the data.
    """

    name: str
    benchmark: AbstractBenchmark | None
    language: str
    part: str
    shots: int
    files: LocalFiles | None

    @property
    def data(self) -> str:
        """Where the items come from, in words."""
        return self.files.test.name if self.files else "hub"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlan:
    """What one suite comes to."""

    tasks: tuple[PlannedTask, ...]
    not_run: tuple[NotRun, ...]


def plan_tasks(wanted: Evaluation, languages: Sequence[str]) -> dict[str, TaskPlan]:
    """Return what can be scored of each suite that a recipe names, and of ``evaluate.tasks``.

    Args:
        wanted: The recipe's ``evaluate``.
        languages: All codes of the recipe.

    Raises:
        EvaluationError: when nothing of a suite or named benchmark can be scored, or a task is
            not known or would run what the model writes.
        MissingExtraError: when something is to be scored and the harness is not installed.
    """
    plans: dict[str, TaskPlan] = {}
    for name in wanted.suites:
        suite = SUITES[name]()
        if isinstance(suite, AbstractBenchmarkSuite):
            plan = _join(
                [_plan(n, shots, wanted, languages) for n, shots in suite.benchmarks.items()]
            )
            plans[name] = _refuse_nothing(f"suite {name}", plan)
    named = [_plan_named(task, wanted, languages) for task in wanted.tasks]
    if named:
        plans[NAMED] = _join(named)
    return plans


def check_tasks(wanted: Evaluation, languages: Sequence[str]) -> None:
    """Refuse what could not be scored later: unknown names, missing files, broken lines.

    Raises:
        EvaluationError, MissingExtraError: as ``plan_tasks``, and when a local file is broken.
    """
    for plan in plan_tasks(wanted, languages).values():
        for task in plan.tasks:
            read_task(task, shots=task.shots)


def read_task(task: PlannedTask, *, shots: int) -> LocalData | None:
    """Return the items of a task's local files; None where the harness fetches them.

    Raises:
        EvaluationError: when a line is broken, or there are too few records.
    """
    if task.benchmark is None or task.files is None:
        return None
    return read_files(task.name, task.benchmark, task.files, task.language, task.part, shots=shots)


def data_fingerprints(wanted: Evaluation, languages: Sequence[str]) -> dict[str, Any]:
    """Return, by suite, what was planned and the hashes of its files."""
    return {
        suite: [
            [task.name, task.part, task.language, task.shots]
            + (task.files.fingerprints() if task.files else [])
            for task in plan.tasks
        ]
        for suite, plan in plan_tasks(wanted, languages).items()
    }


def _plan_named(name: str, wanted: Evaluation, languages: Sequence[str]) -> TaskPlan:
    """Plan one of ``evaluate.tasks``: a benchmark of ours, or whatever the harness calls so."""
    if name in list(BENCHMARKS):
        plan = _plan(name, BENCHMARKS[name].shots, wanted, languages)
        return _refuse_nothing(f"benchmark {name}", plan)
    known = harness_names()
    if name not in known:
        ours = list(BENCHMARKS)
        raise EvaluationError(
            f"evaluate.tasks: given {name!r}; known are {', '.join(ours)} and the tasks, groups "
            f"and tags of lm-evaluation-harness (lm-eval ls tasks)."
            f"{did_you_mean(name, [*ours, *known])}"
        )
    dangerous = tasks_that_run_code(name)
    if dangerous:
        raise EvaluationError(
            f"evaluate.tasks: given {name!r}, which runs programs that the model writes "
            f"({', '.join(dangerous[:5])}), and langraft runs none. Leave it out, and score the "
            "exported model with lm-evaluation-harness itself, on a machine that may be harmed."
        )
    task = PlannedTask(name=name, benchmark=None, language="", part="", shots=0, files=None)
    return TaskPlan(tasks=(task,), not_run=())


def _plan(name: str, shots: int, wanted: Evaluation, languages: Sequence[str]) -> TaskPlan:
    require_harness()
    benchmark = BENCHMARKS[name]()
    folder = wanted.data_dir
    tasks: list[PlannedTask] = []
    not_run: list[NotRun] = []
    for language in languages:
        if language not in benchmark.languages:
            not_run.append(NotRun(benchmark=name, language=language, reason="not in the benchmark"))
            continue
        if folder is None and not benchmark.has_hub_data:
            reason = "on no hub; give evaluate.data_dir"
            not_run.append(NotRun(benchmark=name, language=language, reason=reason))
            continue
        for part in benchmark.parts:
            files = (
                find_files(name, benchmark, Path(folder), language, part)
                if folder is not None
                else None
            )
            if isinstance(files, str):
                not_run.append(NotRun(benchmark=name, language=language, reason=files))
                continue
            tasks.append(
                PlannedTask(
                    name=name,
                    benchmark=benchmark,
                    language=language,
                    part=part,
                    shots=shots,
                    files=files,
                )
            )
    return TaskPlan(tasks=tuple(tasks), not_run=tuple(dict.fromkeys(not_run)))


def _join(plans: Sequence[TaskPlan]) -> TaskPlan:
    return TaskPlan(
        tasks=tuple(task for plan in plans for task in plan.tasks),
        not_run=tuple(found for plan in plans for found in plan.not_run),
    )


def _refuse_nothing(what: str, plan: TaskPlan) -> TaskPlan:
    if not plan.tasks:
        reasons = dict.fromkeys(
            f"{found.benchmark} in {found.language}: {found.reason}" for found in plan.not_run
        )
        raise EvaluationError(
            f"evaluate: nothing of the {what} can be scored ({'; '.join(reasons)}). Put the files "
            "there, choose a suite that has the recipe's languages, or take it out."
        )
    return plan
