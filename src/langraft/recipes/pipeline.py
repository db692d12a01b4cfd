"""The steps of a run, each performed once: text and base, then any number of methods.

prepare   tokenizer -> corpus (-> instruct) -> base -> evaluate-base (-> identify)
method    for each stage: train-NAME, evaluate-NAME -> graft (-> export) -> scorecard
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
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
from langraft.core.recipe import MethodSettings, Recipe
from langraft.evaluate.evaluation import Evaluation
from langraft.evaluate.identification import Identification, behind_identification
from langraft.evaluate.scorecard import Cost, Scorecard, compare
from langraft.graft.method import AbstractMethod
from langraft.graft.moe_method import AbstractMoEMethod
from langraft.recipes import steps
from langraft.recipes.base import BaseSource
from langraft.recipes.conversations import INSTRUCT, instruct_inputs, make_conversations
from langraft.recipes.load import dump_recipe
from langraft.recipes.trainer import MethodTrainer
from langraft.train.limits import refuse_impossible, refuse_missing
from langraft.train.lost import explain_lost_process
from langraft.train.parallel import Processes, join_processes

Until = Literal["corpus", "train", "evaluate", "export", "report"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What every method of a run starts from."""

    corpus: Manifest
    base: Manifest
    instruct: Manifest | None


@contextlib.contextmanager
def open_pipeline(
    recipe: Recipe, folder: Path, console: Console | None, *, is_dry: bool = False
) -> Generator[Pipeline]:
    """Check a recipe, join the other processes and lock the folder for as long as it is open.

    Args:
        recipe: What is carried out; written resolved into the folder.
        folder: Of the run or comparison.
        console: Where progress goes; standard error by default.
        is_dry: Write nothing, lock nothing.

    Raises:
        LangraftError: when a later step would refuse the recipe, the folder is in use, or another
            process of the run has ended.
    """
    steps.check_before_running(recipe)
    with explain_lost_process(folder):
        processes = join_processes()
        transformers.logging.disable_progress_bar()
        console = console or Console(stderr=True, quiet=not processes.is_leader)
        pipeline = Pipeline(recipe, folder, processes, console, is_dry=is_dry)
        if is_dry or not processes.is_leader:
            yield pipeline
            return
        with lock(folder):
            write_text(folder / "recipe.yaml", dump_recipe(recipe))
            yield pipeline


class Pipeline:
    """Performs the steps of one run folder and remembers which ran."""

    def __init__(
        self, recipe: Recipe, folder: Path, processes: Processes, console: Console, *, is_dry: bool
    ) -> None:
        """Bind a recipe to its run folder; a dry pipeline only says what it would do."""
        self.is_dry = is_dry
        self.steps: dict[str, str] = {}
        self.recipe = recipe
        self.folder = folder
        self.processes = processes
        self.console = console

    def prepare(self, until: Until) -> Prepared | None:
        """Read the text and make the base; None when that is all that is wanted."""
        recipe, folder = self.recipe, self.folder
        if until != "corpus" and not self.is_dry and not any(folder.rglob("train-*")):
            # Before hours of work; later each stage refuses by itself what is still to be trained.
            refuse_impossible(
                recipe.training, self.processes.world_size, self.processes.device.type
            )
            refuse_missing(recipe.training)
        source = BaseSource(recipe, folder)
        tokenizer = self.step(
            "tokenizer", folder / "tokenizer", source.tokenizer_inputs(), source.make_tokenizer
        )
        corpus = self.step(
            "corpus",
            folder / "corpus",
            steps.corpus_inputs(recipe, tokenizer),
            lambda path: steps.make_corpus(recipe, folder / "tokenizer", path, self.console),
            is_resumable=True,
        )
        instruct = None
        if recipe.instruct is not None:
            instruct = self.step(
                "instruct",
                folder / INSTRUCT,
                instruct_inputs(recipe, tokenizer),
                lambda path: make_conversations(recipe, folder / "tokenizer", path, self.console),
            )
        if until == "corpus":
            return None
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
        return Prepared(corpus, base, instruct)

    def method(
        self,
        method: MethodSettings,
        folder: Path,
        prepared: Prepared,
        until: Until,
        *,
        seed: int,
        is_exported: bool,
    ) -> dict[str, Scorecard]:
        """Train, evaluate and perhaps export one method.

        Args:
            method: The recipe's own or one of its baselines.
            folder: The method's, inside the run's.
            prepared: What ``prepare`` returned.
            until: Stop after this verb's work.
            seed: Of the method's first weights and order of text; the base keeps the recipe's.
            is_exported: Whether ``export/`` is wanted.

        Returns:
            Its scorecard by key; with an identifier, of ``full`` also that of ``switch``.
        """
        recipe = self.recipe.model_copy(update={"seed": seed})
        assert isinstance(method, AbstractMethod)
        if isinstance(method, AbstractMoEMethod) and method.allocation != "uniform":
            method = self.allocate(method, folder, prepared)
        trainer = MethodTrainer(recipe, method, self.folder, folder, self.processes, self.console)
        corpus, trained = prepared.corpus, prepared.base
        evaluated = self.evaluate("base", self.folder, trained, prepared, trainer, until)
        for number, stage in enumerate(trainer.stages):
            trained = self.step(
                f"train-{stage.name}",
                folder / f"train-{stage.name}",
                trainer.stage_inputs(number, trained, corpus, prepared.instruct),
                lambda path, number=number: trainer.train(number, path),
                is_resumable=True,
                is_collective=True,
            )
            evaluated = self.evaluate(stage.name, folder, trained, prepared, trainer, until)
        if until == "train":
            return {}
        graft = self.step(
            "graft", folder / "graft", {"trained": trained.fingerprint}, trainer.save_graft
        )
        if is_exported and recipe.export.format != "none" and until in ("export", "report"):
            self.step(
                "export",
                folder / "export",
                {"graft": graft.fingerprint, "export": recipe.export.model_dump(mode="json")},
                lambda path: steps.make_export(recipe, folder / "graft", path),
            )
        return {} if self.is_dry else self.scorecards(method, folder, trainer, evaluated, seed)

    def allocate(
        self, method: AbstractMoEMethod, folder: Path, prepared: Prepared
    ) -> AbstractMoEMethod:
        """Find out how many experts each layer gets; a dry run leaves that open."""
        found = self.step(
            "allocate",
            folder / "allocate",
            {"base": prepared.base.fingerprint, "corpus": prepared.corpus.fingerprint},
            lambda path: steps.probe_layers(self.recipe, self.folder, self.processes.device),
        )
        similarities = found.counts.get("similarities")
        return method.allocated(similarities) if similarities else method

    def evaluate(
        self,
        name: str,
        folder: Path,
        model: Manifest,
        prepared: Prepared,
        trainer: MethodTrainer,
        until: Until,
    ) -> Path:
        """Evaluate the model that a step left; returns the evaluation's folder."""
        path = folder / f"evaluate-{name}"
        if until != "train":
            self.step(
                f"evaluate-{name}",
                path,
                steps.evaluation_inputs(self.recipe, model, prepared.corpus, prepared.instruct),
                lambda at: trainer.evaluate(name, at, model.fingerprint),
            )
        return path

    def scorecards(
        self,
        method: AbstractMethod,
        folder: Path,
        trainer: MethodTrainer,
        after: Path,
        seed: int,
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
            languages = self.recipe.languages
            return compare(before, found, languages=languages, method=name, seed=seed, cost=cost)

        cards = {method.key: against_base(reached, method.key, cost)}
        if self.recipe.evaluate.identifier is not None:
            found = Identification.read(self.folder / "identify")
            behind = behind_identification(before, reached, found)
            if method.can_be_guarded and not trainer.is_base_changed:
                guarded = against_base(behind, method.key, cost)
                cards[method.key] = cards[method.key].with_guard(guarded, found.errors)
            elif method.key == "full":
                cards["switch"] = against_base(behind, "switch", cost.beside_base())
        if self.processes.is_leader:
            write_json(folder / "scorecard.json", cards[method.key].to_json())
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
