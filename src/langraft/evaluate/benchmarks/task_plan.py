"""Plan the benchmarks of a recipe: which, in which languages, and what cannot be scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langraft.core.errors import EvaluationError, did_you_mean
from langraft.core.settings.evaluation import EvaluationSettings
from langraft.corpus.reading.paths import check_path
from langraft.evaluate.benchmarks.benchmark import AbstractBenchmark
from langraft.evaluate.benchmarks.harness_tasks import (
    harness_names,
    require_harness,
    tasks_that_run_code,
)
from langraft.evaluate.benchmarks.local_files import LocalFiles, find_files
from langraft.evaluate.benchmarks.planned_task import PlannedTask
from langraft.evaluate.benchmarks.suite import AbstractBenchmarkSuite
from langraft.evaluate.benchmarks.suites import SUITES
from langraft.evaluate.benchmarks.task_scores import NotRun
from langraft.evaluate.benchmarks.tasks import BENCHMARKS

NAMED = "tasks"  # what scores of evaluate.tasks are listed under, beside the suites


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlan:
    """What can be scored of one suite, and what cannot."""

    tasks: tuple[PlannedTask, ...]
    not_run: tuple[NotRun, ...]


def plan_tasks(settings: EvaluationSettings, languages: Sequence[str]) -> dict[str, TaskPlan]:
    """Return the plan of each suite that a recipe names, and of ``evaluate.tasks``.

    Args:
        settings: The recipe's ``evaluate``.
        languages: All codes of the recipe.

    Raises:
        EvaluationError: when nothing of a suite or named benchmark can be scored, or a task is
            not known or would run what the model writes.
        MissingExtraError: when something is to be scored and the harness is not installed.
    """
    plans: dict[str, TaskPlan] = {}
    for name in settings.suites:
        suite = SUITES[name]()
        if isinstance(suite, AbstractBenchmarkSuite):
            plan = _join(
                [_plan(n, shots, settings, languages) for n, shots in suite.benchmarks.items()]
            )
            plans[name] = _refuse_nothing(f"suite {name}", plan)
    named = [_plan_named(task, settings, languages) for task in settings.tasks]
    if named:
        plans[NAMED] = _join(named)
    return plans


def check_tasks(settings: EvaluationSettings, languages: Sequence[str]) -> None:
    """Refuse unknown names, missing files and broken lines before training.

    Raises:
        EvaluationError, MissingExtraError: as ``plan_tasks``, and when a local file is broken.
    """
    for plan in plan_tasks(settings, languages).values():
        for task in plan.tasks:
            task.read()


def data_fingerprints(settings: EvaluationSettings, languages: Sequence[str]) -> dict[str, Any]:
    """Return, by suite, what was planned and the hashes of its files."""
    return {
        suite: [
            [task.name, task.part, task.language, task.shots]
            + ([task.limit_each] if task.limit_each else [])
            + (task.files.fingerprints() if task.files else [])
            for task in plan.tasks
        ]
        for suite, plan in plan_tasks(settings, languages).items()
    }


def _plan_named(name: str, settings: EvaluationSettings, languages: Sequence[str]) -> TaskPlan:
    """Plan one of ``evaluate.tasks``: a benchmark of ours, or a name of the harness."""
    if name in list(BENCHMARKS):
        plan = _plan(name, BENCHMARKS[name].shots, settings, languages)
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
            "exported model with lm-evaluation-harness itself, in a sandbox."
        )
    return TaskPlan(tasks=(PlannedTask(name=name),), not_run=())


def _plan(
    name: str, shots: int, settings: EvaluationSettings, languages: Sequence[str]
) -> TaskPlan:
    """Plan one benchmark of ours in all languages."""
    require_harness()
    benchmark = BENCHMARKS[name]()
    tasks: list[PlannedTask] = []
    not_run: list[NotRun] = []
    for language in languages:
        for part in benchmark.parts:
            files = _data(benchmark, settings.data_dir, language, part)
            if isinstance(files, str):
                not_run.append(NotRun(benchmark=name, language=language, reason=files))
            else:
                tasks.append(
                    PlannedTask(
                        name=name,
                        benchmark=benchmark,
                        language=language,
                        part=part,
                        shots=shots,
                        files=files,
                        limit_each=settings.limit_each if benchmark.subset_key else None,
                    )
                )
    return TaskPlan(tasks=tuple(tasks), not_run=tuple(dict.fromkeys(not_run)))


def _data(
    benchmark: AbstractBenchmark, data_dir: str | None, language: str, part: str
) -> LocalFiles | str | None:
    """Return local files, None for the hub's data, or in words why there is neither."""
    if language not in benchmark.languages:
        return "not in the benchmark"
    if data_dir is not None:
        check_path(data_dir, "evaluate.data_dir")
        return find_files(benchmark, Path(data_dir), language, part)
    return None if benchmark.has_hub_data else "on no hub; give evaluate.data_dir"


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
