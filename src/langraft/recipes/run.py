"""A run, top to bottom: from a recipe to a grafted, evaluated, exported, reported model.

    tokenizer -> corpus -> base -> evaluate-base -> for each stage: train-NAME, evaluate-NAME
              -> graft -> export -> scorecard -> the same stages for each baseline -> report

Each step owns a folder of the run; finished steps are skipped, changed ones run again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import transformers
from rich.console import Console

from langraft.core.artifacts import (
    Manifest,
    Solo,
    finished,
    lock,
    perform,
    planned,
    write_json,
    write_text,
)
from langraft.core.recipe import Recipe
from langraft.evaluate.evaluation import Evaluation
from langraft.evaluate.identification import Identification, behind_identification
from langraft.evaluate.scorecard import Cost, Scorecard, compare
from langraft.graft.method import AbstractMethod
from langraft.recipes import steps
from langraft.recipes.base import BaseSource
from langraft.recipes.load import dump_recipe
from langraft.recipes.trainer import MethodTrainer
from langraft.report.page import write_report
from langraft.train.parallel import Processes, join_processes

Until = Literal["corpus", "train", "evaluate", "export", "report"]


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
    folder = Path(out)
    steps.check_before_running(recipe)
    processes = join_processes()
    transformers.logging.disable_progress_bar()
    console = console or Console(stderr=True, quiet=not processes.is_leader)
    going = _Run(recipe, folder, processes, console, is_dry)
    if is_dry or not processes.is_leader:
        return going.carry_out(until)
    with lock(folder):
        write_text(folder / "recipe.yaml", dump_recipe(recipe))
        return going.carry_out(until)


class _Run:
    """The state of a run: what is fixed for all its steps."""

    def __init__(
        self, recipe: Recipe, folder: Path, processes: Processes, console: Console, is_dry: bool
    ) -> None:
        self.is_dry = is_dry
        self.steps: dict[str, str] = {}
        self.recipe = recipe
        self.folder = folder
        self.processes = processes
        self.console = console

    def carry_out(self, until: Until) -> RunResult:
        recipe, folder = self.recipe, self.folder
        source = BaseSource(recipe, folder)
        tokenizer = self.step(
            "tokenizer", folder / "tokenizer", source.tokenizer_inputs(), source.make_tokenizer
        )
        corpus = self.step(
            "corpus",
            folder / "corpus",
            steps.corpus_inputs(recipe, tokenizer),
            lambda path: steps.make_corpus(recipe, folder / "tokenizer", path, self.console),
        )
        if until == "corpus":
            return RunResult(folder=folder, steps=self.steps)
        base = self.step(
            "base",
            folder / "base",
            source.base_inputs(corpus),
            lambda path: source.make_base(path, self.processes, self.console),
            is_resumable=True,
            is_collective=True,
        )
        if recipe.evaluate.identifier is not None and until != "train":
            self.step(
                "identify",
                folder / "identify",
                steps.identification_inputs(recipe, corpus),
                lambda path: steps.identify(recipe, folder / "corpus", path),
            )
        scorecards: dict[str, Scorecard] = {}
        for method in (recipe.method, *recipe.baselines):
            at = folder if method is recipe.method else folder / "baselines" / method.name
            scorecards |= self.method(method, at, corpus, base, until)
        found = scorecards
        if self.processes.is_leader and found:
            methods = {name: card.to_json() for name, card in found.items()}
            write_json(folder / "comparison.json", {"methods": methods})
        if self.is_dry and until == "report":
            self.steps["report"] = "would run" if "would run" in self.steps.values() else "finished"
        if until != "report" or self.is_dry:
            return RunResult(folder=folder, steps=self.steps, scorecards=found)
        self.step(
            "report",
            folder / "report",
            steps.report_inputs(folder),
            lambda path: write_report(folder, path),
        )
        report = folder / "report.html"
        return RunResult(folder=folder, steps=self.steps, scorecards=found, report=report)

    def method(
        self, method: Any, folder: Path, corpus: Manifest, base: Manifest, until: Until
    ) -> dict[str, Scorecard]:
        """Train, evaluate and, for the recipe's own method, export one method.

        Returns:
            Its scorecard by name; with an identifier, of a trained base also ``switch``.
        """
        recipe = self.recipe
        assert isinstance(method, AbstractMethod)
        trainer = MethodTrainer(recipe, method, self.folder, folder, self.processes, self.console)
        evaluated = self.evaluate("base", self.folder, base, corpus, trainer, until)
        trained = base
        for number, stage in enumerate(trainer.stages):
            trained = self.step(
                f"train-{stage.name}",
                folder / f"train-{stage.name}",
                trainer.stage_inputs(number, trained, corpus),
                lambda path, number=number: trainer.train(number, path),
                is_resumable=True,
                is_collective=True,
            )
            evaluated = self.evaluate(stage.name, folder, trained, corpus, trainer, until)
        if until == "train":
            return {}
        graft = self.step(
            "graft", folder / "graft", {"trained": trained.fingerprint}, trainer.save_graft
        )
        scorecards = {} if self.is_dry else self.scorecards(method, folder, trainer, evaluated)
        is_own = method is recipe.method
        if is_own and recipe.export.format != "none" and until in ("export", "report"):
            self.step(
                "export",
                folder / "export",
                {"graft": graft.fingerprint, "export": recipe.export.model_dump(mode="json")},
                lambda path: steps.make_export(recipe, folder / "graft", path),
            )
        return scorecards

    def evaluate(
        self,
        name: str,
        folder: Path,
        model: Manifest,
        corpus: Manifest,
        trainer: MethodTrainer,
        until: Until,
    ) -> Path:
        """Evaluate the model that a step left; returns the evaluation's folder."""
        path = folder / f"evaluate-{name}"
        if until != "train":
            self.step(
                f"evaluate-{name}",
                path,
                steps.evaluation_inputs(self.recipe, model, corpus),
                lambda at: trainer.evaluate(name, at),
            )
        return path

    def scorecards(
        self, method: AbstractMethod, folder: Path, trainer: MethodTrainer, after: Path
    ) -> dict[str, Scorecard]:
        """Set a method against the base, and with an identifier in front of both."""
        plan = trainer.plan()
        cost = Cost(
            tokens=sum(stage.tokens for stage in plan.stages),
            training_flops=sum(stage.training_flops for stage in plan.stages),
            seconds=trainer.seconds(),
            parameters=plan.parameters,
        )
        before = Evaluation.read(self.folder / "evaluate-base")
        reached = Evaluation.read(after)

        def against_base(found: Evaluation, name: str, cost: Cost) -> Scorecard:
            languages, seed = self.recipe.languages, self.recipe.seed
            return compare(before, found, languages=languages, method=name, seed=seed, cost=cost)

        cards = {method.name: against_base(reached, method.name, cost)}
        if self.recipe.evaluate.identifier is not None:
            found = Identification.read(self.folder / "identify")
            behind = behind_identification(before, reached, found)
            if not trainer.is_base_changed:
                guarded = against_base(behind, method.name, cost)
                cards[method.name] = cards[method.name].with_guard(guarded, found.errors)
            elif method.name == "full":
                cards["switch"] = against_base(behind, "switch", cost.beside_base())
        if self.processes.is_leader:
            write_json(folder / "scorecard.json", cards[method.name].to_json())
        return cards

    def step(
        self,
        name: str,
        folder: Path,
        inputs: Mapping[str, Any],
        build: Callable[[Path], Mapping[str, Any]],
        *,
        is_resumable: bool = False,
        is_collective: bool = False,
    ) -> Manifest:
        """Perform a step and say so; in a dry run only find out whether it would run."""
        label = folder.relative_to(self.folder).as_posix()
        if self.is_dry:
            found = finished(folder, inputs)
            self.steps[label] = "finished" if found else "would run"
            return found or planned(name, inputs)
        self.steps[label] = "finished"

        def build_aloud(path: Path) -> Mapping[str, Any]:
            self.steps[label] = "ran"
            self.console.print(f"[bold]{label}[/bold]")
            return build(path)

        return perform(
            name,
            folder,
            inputs,
            build_aloud,
            is_resumable=is_resumable,
            is_collective=is_collective,
            team=self.processes if self.processes.world_size > 1 else Solo(),
        )
