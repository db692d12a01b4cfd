"""A run folder and its steps: those that all methods share, then those of each method.

prepare   (samples ->) tokenizer -> corpus (-> instruct) -> base (-> identify)
method    (allocate | columns ->) evaluate-base -> for each stage: train-NAME, evaluate-NAME
          -> graft (-> for each weight: merge-WEIGHT) (-> export) -> scorecard
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import transformers
from rich.console import Console

from langraft.core.artifacts import Manifest, finished_manifest, perform, planned_manifest
from langraft.core.errors import ArtifactError
from langraft.core.files import fingerprint, write_text
from langraft.core.locks import lock
from langraft.core.settings.recipe import Recipe
from langraft.corpus.build import WORK
from langraft.evaluate.scorecard import Scorecard
from langraft.graft.method import AbstractMethod
from langraft.recipes.before_running import check_base_values, check_before_running, check_processes
from langraft.recipes.grafted_stages import GraftedStages
from langraft.recipes.load import dump_recipe
from langraft.recipes.run_context import RunContext
from langraft.recipes.steps import base_model, columns, method_steps, shared_steps
from langraft.recipes.steps.base_samples import (
    BATCHES,
    sample_inputs,
    sampled_sources,
    with_samples,
    write_samples,
)
from langraft.recipes.steps.conversations import instruct_inputs, make_conversations
from langraft.recipes.text_planning import check_text_suffices
from langraft.train.checkpoint import CHECKPOINTS
from langraft.train.loop import WEIGHTS
from langraft.train.processes.group import join_processes
from langraft.train.processes.peer_failure import explain_peer_failure

Until = Literal["corpus", "train", "evaluate", "export", "report"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The finished steps that every method of a run starts from."""

    corpus: Manifest
    base: Manifest
    instruct: Manifest | None


@contextlib.contextmanager
def open_pipeline(
    recipe: Recipe, folder: Path, console: Console | None, *, is_dry: bool = False
) -> Generator[Pipeline]:
    """Check a recipe, join the other processes and lock the run folder while it is used.

    Args:
        recipe: What to run; written into the folder with all defaults.
        folder: Folder of the run or comparison.
        console: Where progress is printed; standard error by default.
        is_dry: Write nothing, lock nothing.

    Raises:
        LangraftError: when a later step would refuse the recipe, the folder is in use, or another
            process of the run has ended.
    """
    check_before_running(recipe, folder)
    with explain_peer_failure(folder):
        processes = join_processes()
        transformers.logging.disable_progress_bar()
        console = console or Console(stderr=True, quiet=not processes.is_leader)
        pipeline = Pipeline(RunContext(recipe, folder, processes, console), is_dry=is_dry)
        if is_dry or not processes.is_leader:
            yield pipeline
            return
        with lock(folder):
            write_text(folder / "recipe.yaml", dump_recipe(recipe))
            yield pipeline


class Pipeline:
    """Performs the steps of one run folder and records which ran."""

    def __init__(self, run: RunContext, *, is_dry: bool) -> None:
        """Take a run; a dry pipeline only records what it would do."""
        self.run = run
        self.is_dry = is_dry
        self.steps: dict[str, str] = {}
        self._inputs_of: dict[str, str] = {}  # fingerprints by folder

    def prepare(self, until: Until) -> Prepared | None:
        """Read the text and make the base; None when ``until`` is ``corpus``."""
        run, recipe, folder = self.run, self.run.recipe, self.run.folder
        if until != "corpus" and not any(folder.rglob("train-*")):
            # Before hours of work. In a run that has begun each stage checks for itself.
            check_processes(recipe, run.processes.world_size, run.processes.device.type)
            if run.processes.is_leader and not self.is_dry:
                check_base_values(recipe)
        self.samples()
        reading = replace(run, recipe=with_samples(recipe, run.samples))
        tokenizer = self.step(
            "tokenizer",
            run.tokenizer,
            base_model.tokenizer_inputs(recipe),
            lambda path: base_model.make_tokenizer(reading.recipe, path),
        )
        corpus = self.step(
            "corpus",
            run.corpus,
            shared_steps.corpus_inputs(recipe, tokenizer),
            lambda path: shared_steps.make_corpus(reading, path),
            is_resumable=True,
            working=(WORK,),
        )
        instruct = None
        if recipe.instruct is not None:
            instruct = self.step(
                "instruct",
                run.instruct,
                instruct_inputs(recipe, tokenizer),
                lambda path: make_conversations(run, path),
            )
        if until == "corpus":
            return None
        if not self.is_dry:
            check_text_suffices(recipe, folder)
        made_base = self.step(
            "base",
            folder / "base",
            base_model.base_inputs(recipe, corpus),
            lambda path: base_model.make_base(run, path),
            is_resumable=True,
            is_collective=True,
            working=(CHECKPOINTS, WEIGHTS),
        )
        if recipe.evaluate.identifier is not None and until != "train":
            self.step(
                "identify",
                folder / "identify",
                shared_steps.identification_inputs(recipe, corpus),
                lambda path: shared_steps.identify(run, path),
            )
        return Prepared(corpus, made_base, instruct)

    def samples(self) -> None:
        """Let the base write what sources of the corpus ask for."""
        run = self.run
        for label, source in sampled_sources(run.recipe).items():
            self.step(
                "samples",
                run.samples / label,
                sample_inputs(run.recipe, source),
                lambda path, source=source: write_samples(run, source, path),
                is_resumable=True,
                working=(BATCHES,),
            )

    def method(
        self,
        method: AbstractMethod,
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
            seed: Seed of the new weights and the order of text; the base keeps the recipe's.
            is_exported: Whether to write ``export/``.

        Returns:
            Its scorecard by key, and those of its merges; with an identifier, for ``full`` also
            that of ``switch``.
        """
        recipe = self.run.recipe.model_copy(update={"seed": seed})
        if method.has_open_counts or method.has_open_layers:
            method = self.allocate(method, folder, prepared)
        chosen = self.choose_columns(method, folder, prepared)
        grafted = GraftedStages(replace(self.run, recipe=recipe), method, folder, chosen)
        corpus, trained = prepared.corpus, prepared.base
        last = self.evaluate(grafted, 0, trained, prepared, until)
        for number, stage in enumerate(grafted.stages):
            trained = self.step(
                f"train-{stage.name}",
                folder / f"train-{stage.name}",
                method_steps.stage_inputs(grafted, number, trained, corpus, prepared.instruct),
                lambda path, number=number: method_steps.train(grafted, number, path),
                is_resumable=True,
                is_collective=True,
                working=(CHECKPOINTS,),
            )
            last = self.evaluate(grafted, number + 1, trained, prepared, until)
        if until == "train":
            return {}
        graft = self.step(
            "graft",
            folder / "graft",
            {"trained": trained.fingerprint},
            lambda path: method_steps.save_graft(grafted, path),
        )
        self.evaluate_merges(grafted, trained, prepared)
        if is_exported and recipe.export.format != "none" and until in ("export", "report"):
            self.export(folder, graft)
        if self.is_dry:
            return {}
        cards = method_steps.scorecards(grafted, last)
        if self.run.processes.is_leader:
            method_steps.write_scorecard(grafted, cards[method.key])
        return cards

    def export(self, folder: Path, graft: Manifest) -> None:
        """Export the graft of a method."""
        recipe = self.run.recipe
        inputs = {
            "graft": graft.fingerprint,
            "export": recipe.export.model_dump(mode="json"),
            **base_model.served_inputs(recipe),
        }
        self.step(
            "export",
            folder / "export",
            inputs,
            lambda path: shared_steps.make_export(recipe, folder / "graft", path),
        )

    def allocate(self, method: AbstractMethod, folder: Path, prepared: Prepared) -> AbstractMethod:
        """Decide how many experts each layer gets; a dry run leaves that open."""
        found = self.step(
            "allocate",
            folder / "allocate",
            {"base": prepared.base.fingerprint, "corpus": prepared.corpus.fingerprint},
            lambda path: shared_steps.probe_layers(self.run),
        )
        similarities = found.counts.get("similarities")
        return method.allocated(similarities) if similarities else method

    def choose_columns(
        self, method: AbstractMethod, folder: Path, prepared: Prepared
    ) -> Manifest | None:
        """Choose the columns of the base's matrices that train, for a method that splits them."""
        choice = method.column_choice
        if choice is None:
            return None
        return self.step(
            "columns",
            folder / "columns",
            columns.column_inputs(self.run.recipe, choice, prepared.base, prepared.corpus),
            lambda path: columns.choose_columns(self.run, choice, path),
        )

    def evaluate_merges(
        self, grafted: GraftedStages, trained: Manifest, prepared: Prepared
    ) -> None:
        """Evaluate the trained model merged with its base, at each weight that the method names."""
        for weight in grafted.method.merge_weights:
            inputs = shared_steps.evaluation_inputs(
                self.run.recipe, trained, prepared.corpus, prepared.instruct
            ) | {"merge": weight}
            path = method_steps.merge_folder(grafted, weight)
            model = fingerprint({"trained": trained.fingerprint, "merge": weight})
            self.step(
                path.name,
                path,
                inputs,
                lambda at, weight=weight, model=model: method_steps.evaluate_merge(
                    grafted, weight, at, model
                ),
            )

    def evaluate(
        self,
        grafted: GraftedStages,
        num_stages: int,
        model: Manifest,
        prepared: Prepared,
        until: Until,
    ) -> Path:
        """Evaluate the base (0 stages) or the model after some stages; returns the folder."""
        name = grafted.stages[num_stages - 1].name if num_stages else "base"
        path = (grafted.folder if num_stages else self.run.folder) / f"evaluate-{name}"
        if until != "train":
            self.step(
                f"evaluate-{name}",
                path,
                shared_steps.evaluation_inputs(
                    self.run.recipe, model, prepared.corpus, prepared.instruct
                ),
                lambda at: method_steps.evaluate(grafted, num_stages, at, model.fingerprint),
            )
        return path

    def step(
        self,
        name: str,
        folder: Path,
        inputs: Mapping[str, Any],
        build: Callable[[Path], Mapping[str, Any]],
        *,
        is_resumable: bool = False,
        is_collective: bool = False,
        working: Collection[str] = (),
    ) -> Manifest:
        """Perform a step and print its name; in a dry run only find out whether it would run.

        Raises:
            ArtifactError: when another step of this run has the same folder.
        """
        label = folder.relative_to(self.run.folder).as_posix()
        if self._inputs_of.setdefault(label, fingerprint(inputs)) != fingerprint(inputs):
            raise ArtifactError(
                f"{folder} would hold two steps of this run, of which the second replaces the "
                "first. Give the stages and methods of the recipe other names."
            )
        if self.is_dry:
            found = finished_manifest(folder, inputs)
            self.steps[label] = "finished" if found else "would run"
            return found or planned_manifest(name, inputs)
        self.steps[label] = "finished"

        def build_and_print(path: Path) -> Mapping[str, Any]:
            self.steps[label] = "ran"
            with self.run.announce(label):
                return build(path)

        return perform(
            name,
            folder,
            inputs,
            build_and_print,
            is_resumable=is_resumable,
            is_collective=is_collective,
            working=working,
            processes=self.run.processes if self.run.processes.world_size > 1 else None,
        )
