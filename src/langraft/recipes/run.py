"""A run, top to bottom: from a recipe to a grafted, evaluated, exported, reported model.

    (samples ->) tokenizer -> corpus (-> instruct) -> base (-> columns) -> evaluate-base
              -> for each stage: train-NAME, evaluate-NAME -> graft (-> merge-WEIGHT) -> export
              -> scorecard
              -> the same stages for each baseline -> report

Each step owns a folder of the run; finished steps are skipped, changed ones run again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from langraft.core.files import write_json
from langraft.core.settings.recipe import Recipe
from langraft.evaluate.scorecard import Scorecard
from langraft.graft.method import methods_in
from langraft.recipes.pipeline import Pipeline, Until, open_pipeline
from langraft.recipes.steps import shared_steps
from langraft.report.page import write_report


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """The results of a run.

    Attributes:
        folder: Folder of the run.
        steps: By name, ``ran`` or ``finished`` (before this call); of a dry run ``would run``.
        scorecards: By method, the recipe's own first; empty when the run stopped earlier.
        report: The HTML page, if the run got that far.
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
    """Carry out a recipe, or continue an earlier run of it.

    Args:
        recipe: From ``load_recipe``.
        out: Folder of the run.
        until: Stop after this verb's work.
        is_dry: Check everything and return which steps would run; write nothing.
        console: Where progress is printed; standard error by default.

    Raises:
        LangraftError: when a step fails; finished steps and checkpoints are kept.
    """
    with open_pipeline(recipe, Path(out), console, is_dry=is_dry) as pipeline:
        return _carry_out(pipeline, until)


def _carry_out(pipeline: Pipeline, until: Until) -> RunResult:
    recipe, folder = pipeline.run.recipe, pipeline.run.folder
    prepared = pipeline.prepare(until)
    if prepared is None:
        return RunResult(folder=folder, steps=pipeline.steps)
    scorecards: dict[str, Scorecard] = {}
    for method in methods_in(recipe):
        is_own = method is recipe.method
        at = folder if is_own else folder / "baselines" / method.key
        scorecards |= pipeline.method(
            method, at, prepared, until, seed=recipe.seed, is_exported=is_own
        )
    if pipeline.run.processes.is_leader and scorecards:
        methods = {name: card.to_json() for name, card in scorecards.items()}
        write_json(folder / "comparison.json", {"methods": methods})
    pipeline.run.processes.barrier()  # the report reads what the leader has just written
    is_reported = until == "report" and not pipeline.is_dry
    if is_reported:
        inputs = shared_steps.report_inputs(folder)
        pipeline.step("report", folder / "report", inputs, lambda path: write_report(folder, path))
    elif until == "report":
        would_run = "would run" in pipeline.steps.values()
        pipeline.steps["report"] = "would run" if would_run else "finished"
    return RunResult(
        folder=folder,
        steps=pipeline.steps,
        scorecards=scorecards,
        report=folder / "report.html" if is_reported else None,
    )
