"""A run, top to bottom: from a recipe to a grafted, evaluated, exported, reported model.

    tokenizer -> corpus (-> instruct) -> base -> evaluate-base
              -> for each stage: train-NAME, evaluate-NAME -> graft -> export -> scorecard
              -> the same stages for each baseline -> report

Each step owns a folder of the run; finished steps are skipped, changed ones run again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from langraft.core.artifacts import write_json
from langraft.core.recipe import Recipe
from langraft.evaluate.scorecard import Scorecard
from langraft.recipes import steps
from langraft.recipes.pipeline import Pipeline, Until, open_pipeline
from langraft.report.page import write_report


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """Where a run left things.

    Attributes:
        folder: The run's.
        steps: By name, ``ran`` or ``finished`` (before this call); of a dry run ``would run``.
        scorecards: By method, the recipe's own first; empty when the run stopped earlier.
        report: The HTML page, when it was reached.
    """

    folder: Path
    steps: dict[str, str] = field(default_factory=dict[str, str])
    scorecards: dict[str, Scorecard] = field(default_factory=dict[str, Scorecard])
    report: Path | None = None


def run(
    recipe: Recipe,
    out: Path | str,
    *,
    until: Until = "report",
    is_dry: bool = False,
    console: Console | None = None,
) -> RunResult:
    """Carry out a recipe, or go on where an earlier run of it stopped.

    Args:
        recipe: From ``load_recipe``.
        out: The run's folder.
        until: Stop after this verb's work.
        is_dry: Check everything and say which steps would run; write nothing.
        console: Where progress goes; standard error by default.

    Raises:
        LangraftError: whatever a step has to say; finished steps and checkpoints are kept.
    """
    with open_pipeline(recipe, Path(out), console, is_dry=is_dry) as pipeline:
        return _carry_out(pipeline, until)


def _carry_out(pipeline: Pipeline, until: Until) -> RunResult:
    recipe, folder = pipeline.recipe, pipeline.folder
    prepared = pipeline.prepare(until)
    if prepared is None:
        return RunResult(folder=folder, steps=pipeline.steps)
    scorecards: dict[str, Scorecard] = {}
    for method in (recipe.method, *recipe.baselines):
        is_own = method is recipe.method
        at = folder if is_own else folder / "baselines" / method.key
        scorecards |= pipeline.method(
            method, at, prepared, until, seed=recipe.seed, is_exported=is_own
        )
    if pipeline.processes.is_leader and scorecards:
        methods = {name: card.to_json() for name, card in scorecards.items()}
        write_json(folder / "comparison.json", {"methods": methods})
    if until != "report" or pipeline.is_dry:
        if until == "report":
            would_run = "would run" in pipeline.steps.values()
            pipeline.steps["report"] = "would run" if would_run else "finished"
        return RunResult(folder=folder, steps=pipeline.steps, scorecards=scorecards)
    pipeline.step(
        "report",
        folder / "report",
        steps.report_inputs(folder),
        lambda path: write_report(folder, path),
    )
    return RunResult(
        folder=folder,
        steps=pipeline.steps,
        scorecards=scorecards,
        report=folder / "report.html",
    )
