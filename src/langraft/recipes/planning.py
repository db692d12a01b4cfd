"""Plan what a recipe costs, before anything is spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from langraft.core.errors import MissingExtraError
from langraft.core.settings.recipe import Recipe
from langraft.core.settings.scratch_base import ScratchBase
from langraft.core.settings.stage import Stage
from langraft.evaluate.benchmarks.task_plan import check_tasks
from langraft.graft.method import (
    EVERYTHING,
    AbstractMethod,
    ColumnChoice,
    method_stages,
    methods_in,
)
from langraft.graft.methods.full import Full
from langraft.plan.disk import why_no_room
from langraft.plan.flops import forward_flops
from langraft.plan.hardware import Hardware
from langraft.plan.plan import Plan, plan_method
from langraft.plan.read_shape import read_model_shape
from langraft.recipes.before_running import check_model_and_text, graft_empty
from langraft.recipes.steps.base_model import scratch_stage
from langraft.recipes.text_checks import why_corpus_refused
from langraft.train.preflight import check_libraries, remark_on_context


def plan_recipe(
    recipe: Recipe, hardware: Hardware | None = None, folder: Path | None = None
) -> list[Plan]:
    """Plan the cost of a recipe's method and its baselines without reading text or weights.

    A base that is trained here comes first, as a method called ``base``.

    Args:
        recipe: What is planned.
        hardware: Devices to train on; by default one, and only memory is planned.
        folder: Of the run; a note of the plan says when its disk has no room.

    Raises:
        LangraftError: as ``check_before_running``, but the corpus need not be here; where a run
            would be refused for its text or a missing extra, or benchmarks cannot be checked, a
            note of the plan says so.
    """
    remarks = _missing_here(recipe)
    num_bytes, of_export = check_model_and_text(recipe, with_corpus=False)
    problem = why_no_room(num_bytes, folder) if folder is not None else ""
    remarks += (*of_export, *([problem] if problem else []))
    first, *others = plan_training(recipe, hardware)
    return [replace(first, notes=(*first.notes, *remarks)), *others]


def plan_training(recipe: Recipe, hardware: Hardware | None = None) -> list[Plan]:
    """Plan the cost of a recipe that has been checked, as ``plan_recipe`` does."""
    plans: list[Plan] = []
    if isinstance(recipe.base, ScratchBase):
        grafted, stage = graft_empty(recipe, Full()), scratch_stage(recipe.base)
        plans.append(plan_method(grafted, (stage,), recipe.training, "base", hardware))
    for method in methods_in(recipe):
        model, stages = graft_empty(recipe, method), method_stages(recipe, method)
        plan = plan_method(model, stages, recipe.training, method.key, hardware)
        notes = [*plan.notes]
        if remark := remark_on_context(model, recipe.training):
            notes.append(remark)
        if _are_rows_chosen(method, stages):
            notes.append(
                "which token rows are rare is known once the corpus is read; here all count as "
                "trained"
            )
        if method.column_choice is not None:
            notes.append(_reading_cost(model, recipe, method.column_choice))
        plans.append(replace(plan, notes=tuple(notes)))
    return plans


def _missing_here(recipe: Recipe) -> tuple[str, ...]:
    """Return what a run would need here; a plan is often made on another machine."""
    remarks: list[str] = []
    try:
        check_tasks(recipe.evaluate, recipe.languages.all)
    except MissingExtraError as error:
        remarks.append(f"benchmarks are not checked here. {error}")
    try:
        check_libraries(recipe.training)
    except MissingExtraError as error:
        remarks.append(f"a run here would be refused. {error}")
    if reason := why_corpus_refused(recipe):
        remarks.append(f"a run here would be refused. {reason}")
    return tuple(remarks)


def _are_rows_chosen(method: AbstractMethod, stages: Sequence[Stage]) -> bool:
    """Return whether the corpus says which token rows train; by default a share of 1 is all."""
    trained = {group for stage in stages for group in stage.trains or ()}
    are_trained = "token_rows" in trained or any(s.trains == EVERYTHING for s in stages)
    is_all = method.token_rows_share == 1 and not method.token_rows_uses
    return method.token_rows == "rare" and not is_all and are_trained


def _reading_cost(model: Any, recipe: Recipe, choice: ColumnChoice) -> str:
    """Say what it costs to find the frozen columns, which no stage's figures count."""
    length = recipe.training.sequence_length
    per_token = sum(forward_flops(layer, length) for layer in read_model_shape(model).layers)
    flops = per_token * choice.num_samples * length
    return (
        f"to find the frozen columns the base first reads {choice.num_samples:,} rows of original "
        f"languages: {flops:.1e} FLOPs beside those of training"
    )
