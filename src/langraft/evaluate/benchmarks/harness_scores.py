"""What lm-evaluation-harness found, as scores: with their errors, chance and items."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np

from langraft.core.files import fingerprint
from langraft.evaluate.benchmarks.harness_tasks import config_hash
from langraft.evaluate.benchmarks.planned_task import PlannedTask
from langraft.evaluate.benchmarks.subsets import (
    mean_error,
    overall_mean,
    subset_name,
    summarise_subsets,
)
from langraft.evaluate.benchmarks.task_scores import TaskScore

_FEW_BOOTSTRAPS = 100


def task_score(
    planned: PlannedTask,
    name: str,
    task: Any,
    found: Mapping[str, Any],
    wrapped: Any,
    num_dropped: int,
) -> TaskScore:
    """Return the score of one task.

    Args:
        planned: What the task was made for.
        name: Of the task, in what was found.
        task: Of the harness.
        found: What its ``evaluate`` returned.
        wrapped: The model, from ``harness_model``.
        num_dropped: Records that were left out.
    """
    results, samples = found["results"][name], found["samples"][name]
    metric = planned.benchmark.metric if planned.benchmark else _first_metric(results)
    plain, _, filtered = metric.partition(",")
    of_filter = [sample for sample in samples if sample["filter"] == filtered]
    raw = [sample[plain] for sample in of_filter]
    is_of_items = all(isinstance(value, float | int | np.floating) for value in raw)
    return TaskScore(
        benchmark=planned.name if planned.benchmark else name,
        part=planned.part,
        language=planned.language,
        metric=plain,
        value=float(results[metric]),
        stderr=_stderr(results[f"{plain}_stderr,{filtered}"], task.aggregation()[plain], raw),
        items=len(of_filter),
        chance=_chance(task, plain, of_filter),
        is_high_good=bool(task.higher_is_better().get(plain, True)),
        shots=int(task.get_config("num_fewshot") or 0),
        version=f"lm-eval {importlib.metadata.version('lm-eval')}, task {task.VERSION}",
        config=config_hash(task),
        data=planned.data,
        dropped=num_dropped,
        truncated=sum(_is_cut(sample, task, wrapped) for sample in of_filter),
        values=[float(value) for value in raw] if is_of_items else [],
        others={
            key: float(value)
            for key, value in results.items()
            if "," in key and "_stderr" not in key and key != metric
        },
    )


def joined_score(
    planned: PlannedTask,
    tasks: Mapping[str, Any],
    found: Mapping[str, Any],
    wrapped: Any,
    num_dropped: int,
    available: Mapping[str, int],
) -> TaskScore:
    """Return the one score of a benchmark whose items fall into subsets.

    Args:
        planned: As of ``task_score``, like all that is not listed here.
        tasks: By name; several where the hub has each subset by itself.
        found: What the harness's ``evaluate`` returned.
        wrapped: The model.
        num_dropped: Records that were left out.
        available: Items of each subset before a limit.
    """
    assert planned.benchmark is not None
    parts = [
        task_score(planned, name, task, found, wrapped, num_dropped) for name, task in tasks.items()
    ]
    plain, _, filtered = planned.benchmark.metric.partition(",")
    metrics = [plain, *(key.partition(",")[0] for key in parts[0].others)]
    values: dict[str, dict[str, list[float]]] = {metric: {} for metric in metrics}
    for name in tasks:
        for sample in found["samples"][name]:
            if sample["filter"] == filtered:
                subset = subset_name(sample["doc"], planned.benchmark.subset_key, name)
                for metric in metrics:
                    values[metric].setdefault(subset, []).append(float(sample[metric]))
    subsets = summarise_subsets(values[plain], available)
    of_items = [value for of_subset in values[plain].values() for value in of_subset]
    return replace(
        parts[0],
        value=overall_mean(values[plain], available),
        stderr=mean_error(of_items, subsets),
        items=len(of_items),
        config=parts[0].config if len(parts) == 1 else fingerprint([p.config for p in parts])[:16],
        truncated=sum(part.truncated for part in parts),
        values=of_items,
        others={
            f"{metric},{filtered}": overall_mean(values[metric], available)
            for metric in metrics[1:]
        },
        subsets=subsets,
    )


def _first_metric(results: Mapping[str, Any]) -> str:
    """Return the main metric of a task without a file of ours: normalised accuracy or the first."""
    metrics = [key for key in results if "," in key and "_stderr" not in key]
    return next((key for key in metrics if key.startswith("acc_norm")), metrics[0])


def _stderr(stated: Any, aggregate: Any, raw: Sequence[Any]) -> float | None:
    """Return the harness's standard error, or its bootstrap of an aggregate it does not know."""
    from lm_eval.api.metrics import bootstrap_stderr

    if isinstance(stated, float | int):
        return float(stated)
    if len(raw) < 2 or not isinstance(aggregate, functools.partial):
        return None
    return float(bootstrap_stderr(aggregate, raw, iters=_FEW_BOOTSTRAPS))


def _chance(task: Any, metric: str, samples: Sequence[Mapping[str, Any]]) -> float | None:
    """Return the accuracy of guessing; None for tasks that are not multiple choice."""
    if task.OUTPUT_TYPE != "multiple_choice" or not metric.startswith("acc"):
        return None
    return fmean(1 / len(sample["arguments"]) for sample in samples)


def _is_cut(sample: Mapping[str, Any], task: Any, wrapped: Any) -> bool:
    """Return whether a prompt is longer than the context left for it."""
    if task.OUTPUT_TYPE == "generate_until":
        room = wrapped.max_length - task.config.generation_kwargs.get("max_gen_toks", 0)
        return len(wrapped.tok_encode(sample["arguments"][0][0])) > room
    texts = ("".join(map(str, arguments)) for arguments in sample["arguments"])
    return any(len(wrapped.tok_encode(text)) > wrapped.max_length + 1 for text in texts)
