"""Score a model with lm-evaluation-harness, whose likelihoods, generation and metrics these are."""

from __future__ import annotations

import contextlib
import io
import os
import random
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import torch

from langraft.chat.template import ChatTemplate
from langraft.core.errors import EvaluationError
from langraft.evaluate.benchmarks.harness_scores import joined_score, task_score
from langraft.evaluate.benchmarks.harness_tasks import EXAMPLES_SEED, make_tasks
from langraft.evaluate.benchmarks.planned_task import PlannedTask
from langraft.evaluate.benchmarks.score_cache import ScoreCache
from langraft.evaluate.benchmarks.subsets import take_first
from langraft.evaluate.benchmarks.task_plan import TaskPlan
from langraft.evaluate.benchmarks.task_scores import TaskScore
from langraft.tokenizers.special_tokens import for_prompts

_SEED = 0  # as in lm_eval.simple_evaluate
_BOOTSTRAPS = 100_000


def score_plans(
    model: Any,
    tokenizer: Any,
    plans: Mapping[str, TaskPlan],
    *,
    batch_size: int,
    limit: int | None,
    is_tuned: bool,
    cache: ScoreCache | None = None,
) -> dict[str, list[TaskScore]]:
    """Score all planned tasks under one model.

    Args:
        model: A causal language model, grafted or not; put into evaluation mode.
        tokenizer: Its transformers tokenizer.
        plans: By suite.
        batch_size: Sequences at once; scores depend on it only by rounding.
        limit: First items of each task, or of each of its subsets where the plan says no other
            number; None for all.
        is_tuned: Whether the last stage was chat: no examples, generation beyond a newline, and
            the chat template where the tokenizer has one and the task is no plain text.
        cache: Of this model; None computes all.

    Raises:
        EvaluationError: when the data of a task cannot be had, or it cannot be scored.
    """
    if not plans:
        return {}
    chat = None
    if is_tuned and tokenizer.chat_template is not None:
        chat = ChatTemplate.load(tokenizer)
    found: dict[str, list[TaskScore]] = {}
    with harness_model(model, tokenizer, batch_size=batch_size) as wrapped:
        for suite, plan in plans.items():
            found[suite] = [
                score
                for planned in plan.tasks
                for score in _score_planned(
                    planned,
                    wrapped,
                    limit=planned.limit_each or limit,
                    is_tuned=is_tuned,
                    chat=None if _is_plain_text(planned) else chat,
                    cache=cache,
                )
            ]
    return found


def _is_plain_text(planned: PlannedTask) -> bool:
    return planned.benchmark is not None and planned.benchmark.is_plain_text


def _score_planned(
    planned: PlannedTask,
    wrapped: Any,
    *,
    limit: int | None,
    is_tuned: bool,
    chat: ChatTemplate | None,
    cache: ScoreCache | None,
) -> list[TaskScore]:
    """Return the scores of a planned task from the cache, or make them."""
    tasks, num_dropped = make_tasks(
        planned, wrapped, is_tuned=is_tuned, stop_ids=chat.stop_ids if chat else ()
    )
    template = chat.text if chat else None
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
    if cache:
        cache.report("\n".join(map(_line, scores)))
    return scores


def _line(score: TaskScore) -> str:
    error = "" if score.stderr is None else f" +- {score.stderr:.3f}"
    task = " ".join(filter(None, (score.benchmark, score.part, score.language)))
    chance = "" if score.chance is None else f", chance {score.chance:.3f}"
    said = ": no signal" if score.is_near_chance else ""
    cut = f", {score.truncated} prompts cut" if score.truncated else ""
    value = f"{score.metric} {score.value:.3f}{error}"
    return f"  {task}: {value}{chance}{said}, {score.items} items{cut}"


@contextlib.contextmanager
def harness_model(model: Any, tokenizer: Any, *, batch_size: int) -> Generator[Any]:
    """Wrap a model for the harness, and leave it unchanged and in evaluation mode afterwards.

    The harness would tie output embeddings to input embeddings again, which is wrong for a graft
    with trained token rows; they stay as they are.

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
            pretrained=model,
            tokenizer=for_prompts(tokenizer),
            batch_size=batch_size,
            backend="causal",
        )
    finally:
        del model.tie_weights
    yield wrapped
    model.eval()


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
        limit: First items of each task, or of each of its subsets; None for all.
        has_chat: Whether prompts go through the tokenizer's chat template.

    Raises:
        EvaluationError: when the harness cannot score them.
    """
    from lm_eval.evaluator import evaluate

    key = planned.benchmark.subset_key if planned.benchmark else ""
    available = take_first(tasks, key, limit) if key else {}
    random.seed(_SEED)
    np.random.seed(EXAMPLES_SEED)
    torch.manual_seed(EXAMPLES_SEED)
    with _one_quiet_process():
        try:
            found = evaluate(
                lm=wrapped,
                task_dict={"tasks": dict(tasks)},
                limit=None if key else limit,
                bootstrap_iters=_BOOTSTRAPS,
                apply_chat_template=has_chat,
                fewshot_as_multiturn=True,
            )
        except Exception as error:
            raise EvaluationError(
                f"lm-evaluation-harness cannot score the benchmark {planned} "
                f"({type(error).__name__}: {str(error)[:300]}). Where memory is short lower "
                "evaluate.batch_size; otherwise leave the benchmark out. Run the recipe again: "
                "what is trained and scored is kept."
            ) from error
        assert found is not None  # the harness returns None only in further processes
        if key:
            return [joined_score(planned, tasks, found, wrapped, num_dropped, available)]
        return [
            task_score(planned, name, task, found, wrapped, num_dropped)
            for name, task in tasks.items()
        ]


@contextlib.contextmanager
def _one_quiet_process() -> Generator[None]:
    """Keep the harness from forking a process that holds a model, and silence its output.

    It shows several progress bars for each task; the cache reports what is done instead.
    """
    before = os.environ.get("DISABLE_MULTIPROC")
    os.environ["DISABLE_MULTIPROC"] = "1"
    discarded = io.StringIO()
    try:
        with contextlib.redirect_stdout(discarded), contextlib.redirect_stderr(discarded):
            yield
    finally:
        if before is None:
            del os.environ["DISABLE_MULTIPROC"]
        else:
            os.environ["DISABLE_MULTIPROC"] = before
