"""One model under lm-evaluation-harness: likelihoods, generation and metrics are the harness's."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import io
import os
import random
from collections.abc import Generator, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch

from langraft.core.errors import EvaluationError
from langraft.evaluate.harness_tasks import (
    build_task,
    config_hash,
    fit_generation,
    load_named,
    stop_at_turns,
)
from langraft.evaluate.task_cache import TaskCache
from langraft.evaluate.task_plan import PlannedTask, TaskPlan, read_task
from langraft.evaluate.task_score import TaskScore
from langraft.instruct.chat_template import ChatFormat, template_text

PER_TOKEN = "acc_per_token"
_SEED, _EXAMPLES_SEED = 0, 1234  # those of lm_eval.simple_evaluate
_BOOTSTRAPS, _FEW_BOOTSTRAPS = 100_000, 100


def score_plans(
    model: Any,
    tokenizer: Any,
    plans: Mapping[str, TaskPlan],
    *,
    batch_size: int,
    limit: int | None,
    is_tuned: bool,
    cache: TaskCache | None = None,
) -> dict[str, list[TaskScore]]:
    """Score all that a recipe asks for.

    Args:
        model: A causal language model, grafted or not; put into evaluation mode.
        tokenizer: Its transformers tokenizer.
        plans: By suite.
        batch_size: Sequences at once; scores do not depend on it but for rounding.
        limit: First items of each task; None for all.
        is_tuned: Whether the last stage was chat: no examples, generation beyond a newline, and
            the chat template where the tokenizer has one.
        cache: Of this model; None computes all.

    Raises:
        EvaluationError: when the data of a task cannot be had, or it cannot be scored.
    """
    if not plans:
        return {}
    chat = None
    if is_tuned and tokenizer.chat_template is not None:
        chat = ChatFormat(tokenizer, template_text("base", tokenizer))
    found: dict[str, list[TaskScore]] = {}
    with harness_model(model, tokenizer, batch_size=batch_size) as wrapped:
        for suite, plan in plans.items():
            found[suite] = []
            for planned in plan.tasks:
                tasks, num_dropped = make_tasks(
                    planned,
                    wrapped,
                    is_tuned=is_tuned,
                    stop_ids=chat.stop_ids if chat else (),
                )
                template = chat.template if chat else None
                key = cache.key(planned, tasks, limit=limit, template=template) if cache else ""
                scores = cache.get(key) if cache else None
                if scores is None:
                    scores = score_tasks(
                        planned,
                        tasks,
                        wrapped,
                        num_dropped=num_dropped,
                        limit=limit,
                        has_chat=chat is not None,
                    )
                    if cache:
                        cache.put(key, scores)
                found[suite] += scores
                if cache:
                    cache.report("\n".join(map(_line, scores)))
    return found


def _line(score: TaskScore) -> str:
    error = "" if score.stderr is None else f" +- {score.stderr:.3f}"
    what = " ".join(filter(None, (score.benchmark, score.part, score.language)))
    cut = f", {score.truncated} prompts cut" if score.truncated else ""
    return f"  {what}: {score.metric} {score.value:.3f}{error}, {score.items} items{cut}"


@contextlib.contextmanager
def harness_model(model: Any, tokenizer: Any, *, batch_size: int) -> Generator[Any]:
    """Lend a model to the harness; it comes back as it was, in evaluation mode.

    The harness would tie output to input embeddings anew, which a graft with trained token rows
    has not got; they stay as they are.

    Args:
        model: A causal language model, grafted or not, on its device and in its dtype.
        tokenizer: Its transformers tokenizer; the harness may give it a padding token.
        batch_size: Sequences at once.
    """
    from lm_eval.models import huggingface

    harness: Any = huggingface  # its decorator hides the constructor's arguments
    model.eval()
    model.tie_weights = lambda: None
    try:
        wrapped = harness.HFLM(
            pretrained=model, tokenizer=tokenizer, batch_size=batch_size, backend="causal"
        )
    finally:
        del model.tie_weights
    yield wrapped
    model.eval()


def make_tasks(
    planned: PlannedTask, wrapped: Any, *, is_tuned: bool, stop_ids: Sequence[int] = ()
) -> tuple[dict[str, Any], int]:
    """Return the harness's tasks of a planned one by name, and how many records were dropped.

    Args:
        planned: A benchmark in one language, or a name of the harness, perhaps a group.
        wrapped: From ``harness_model``.
        is_tuned: Tuned models get no examples, and do not stop at a newline.
        stop_ids: Tokens that end a turn of a chat; none for a model that is asked without one.

    Raises:
        EvaluationError: when the data cannot be had or is broken.
    """
    num_dropped = 0
    if planned.benchmark is None:
        tasks = load_named(planned.name)
    else:
        shots = 0 if is_tuned else planned.shots
        data = read_task(planned, shots=shots)
        num_dropped = data.num_dropped if data else 0
        task = build_task(
            planned.name,
            planned.benchmark,
            planned.language,
            planned.part,
            shots=shots,
            data=data,
            is_tuned=is_tuned,
        )
        tasks = {task.task_name: task}
        if planned.benchmark.is_per_token:
            _divide_by_tokens(task, wrapped)
    for task in tasks.values():
        if task.get_config("num_fewshot") is None:
            task.set_config("num_fewshot", 0)
        stop_at_turns(task, stop_ids, wrapped.tokenizer)
        fit_generation(task, wrapped.max_length)
        task.set_fewshot_seed(seed=_EXAMPLES_SEED)
    return tasks, num_dropped


def score_tasks(
    planned: PlannedTask,
    tasks: Mapping[str, Any],
    wrapped: Any,
    *,
    num_dropped: int,
    limit: int | None,
    has_chat: bool,
) -> list[TaskScore]:
    """Score tasks under a model.

    Args:
        planned: What ``tasks`` were made from.
        tasks: From ``make_tasks``.
        wrapped: From ``harness_model``.
        num_dropped: From ``make_tasks``.
        limit: First items of each task; None for all.
        has_chat: Whether prompts go through the tokenizer's chat template.

    Raises:
        EvaluationError: when the harness cannot score them.
    """
    from lm_eval.evaluator import evaluate

    random.seed(_SEED)
    np.random.seed(_EXAMPLES_SEED)
    torch.manual_seed(_EXAMPLES_SEED)
    with _alone_and_quiet():
        try:
            found = evaluate(
                lm=wrapped,
                task_dict={"tasks": dict(tasks)},
                limit=limit,
                bootstrap_iters=_BOOTSTRAPS,
                apply_chat_template=has_chat,
                fewshot_as_multiturn=True,
            )
        except Exception as error:
            what = " ".join(filter(None, (planned.name, planned.part, planned.language)))
            raise EvaluationError(
                f"lm-evaluation-harness cannot score the benchmark {what} "
                f"({type(error).__name__}: {str(error)[:300]}). Where memory is short lower "
                "evaluate.batch_size; otherwise leave the benchmark out. Run the recipe again: "
                "what is trained and scored is kept."
            ) from error
        assert found is not None  # only further processes get nothing
        return [
            _task_score(planned, name, task, found, wrapped, num_dropped)
            for name, task in tasks.items()
        ]


@contextlib.contextmanager
def _alone_and_quiet() -> Generator[None]:
    """Keep the harness from forking a process that holds a model, and from talking on stdout.

    Its bars, several for each task, are let go; whoever scores says what is done.
    """
    before = os.environ.get("DISABLE_MULTIPROC")
    os.environ["DISABLE_MULTIPROC"] = "1"
    unheard = io.StringIO()
    try:
        with contextlib.redirect_stdout(unheard), contextlib.redirect_stderr(unheard):
            yield
    finally:
        if before is None:
            del os.environ["DISABLE_MULTIPROC"]
        else:
            os.environ["DISABLE_MULTIPROC"] = before


def _divide_by_tokens(task: Any, wrapped: Any) -> None:
    """Add accuracy by log-likelihood per token to a task of choices.

    PolyLM (arXiv:2307.06018, section 5); the harness divides by characters or bytes alone.
    """
    from lm_eval.api.metrics import mean as harness_mean

    inner = task.process_results
    delimiter = task.config.target_delimiter

    def process(item: Any, results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
        lengths = [
            len(wrapped.tok_encode(delimiter + choice, add_special_tokens=False))
            for choice in task.doc_to_choice(item)
        ]
        scores = [nats / max(1, length) for (nats, _), length in zip(results, lengths, strict=True)]
        best = int(np.argmax(scores))
        return inner(item, results) | {PER_TOKEN: float(best == task.doc_to_target(item))}

    task.process_results = process
    task.aggregation()[PER_TOKEN] = harness_mean
    task.higher_is_better()[PER_TOKEN] = True


def _task_score(
    planned: PlannedTask,
    name: str,
    task: Any,
    found: Mapping[str, Any],
    wrapped: Any,
    num_dropped: int,
) -> TaskScore:
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


def _first_metric(results: Mapping[str, Any]) -> str:
    """Return the first metric of a task that no file of ours describes, normalised if it can be."""
    metrics = [key for key in results if "," in key and "_stderr" not in key]
    return next((key for key in metrics if key.startswith("acc_norm")), metrics[0])


def _stderr(stated: Any, aggregate: Any, raw: Sequence[Any]) -> float | None:
    """Return a standard error: the harness's own, or its bootstrap of what it does not know."""
    from lm_eval.api.metrics import bootstrap_stderr

    if isinstance(stated, float | int):
        return float(stated)
    if len(raw) < 2 or not isinstance(aggregate, functools.partial):
        return None
    return float(bootstrap_stderr(aggregate, raw, iters=_FEW_BOOTSTRAPS))


def _chance(task: Any, metric: str, samples: Sequence[Mapping[str, Any]]) -> float | None:
    """Return what picking any choice would get; None where nothing is picked."""
    if task.OUTPUT_TYPE != "multiple_choice" or not metric.startswith("acc"):
        return None
    return fmean(1 / len(sample["arguments"]) for sample in samples)


def _is_cut(sample: Mapping[str, Any], task: Any, wrapped: Any) -> bool:
    """Say whether a prompt is longer than what the model can read of it."""
    if task.OUTPUT_TYPE == "generate_until":
        room = wrapped.max_length - task.config.generation_kwargs.get("max_gen_toks", 0)
        return len(wrapped.tok_encode(sample["arguments"][0][0])) > room
    texts = ("".join(map(str, arguments)) for arguments in sample["arguments"])
    return any(len(wrapped.tok_encode(text)) > wrapped.max_length + 1 for text in texts)
