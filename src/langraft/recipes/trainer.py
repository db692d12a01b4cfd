"""One method on its way through the stages of a recipe."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from langraft.core.artifacts import Manifest, read_manifest
from langraft.core.errors import ModelError
from langraft.core.recipe import Recipe
from langraft.core.stage import Stage
from langraft.corpus.shards import open_stream
from langraft.corpus.vocabulary.extension import Extension, is_extended
from langraft.evaluate.evaluation import evaluate_model
from langraft.evaluate.task_cache import TaskCache
from langraft.graft.method import AbstractMethod
from langraft.graft.outline import Outline, outline_graft
from langraft.graft.store import (
    empty_base,
    load_base,
    load_tensors,
    read_tensors,
    save,
    tokenizer_folder,
)
from langraft.graft.surgery import graft_info, graft_model
from langraft.graft.token_rows import rare_tokens
from langraft.recipes.base import (
    base_folder,
    heldout_gauge,
    make_loader,
    num_samples,
    training_inputs,
    warn_of_repetition,
)
from langraft.recipes.conversations import INSTRUCT, TOKENIZER, text_folder
from langraft.recipes.plan import Plan, plan_method
from langraft.train.loop import WEIGHTS, train_stage
from langraft.train.mesh import check_mesh
from langraft.train.parallel import Processes


class MethodTrainer:
    """One method on its way through the recipe's stages, the model kept between steps."""

    def __init__(
        self,
        recipe: Recipe,
        method: AbstractMethod,
        run_folder: Path,
        folder: Path,
        processes: Processes,
        console: Console,
    ) -> None:
        """Bind a method to its folder; stages are the recipe's, completed by the method."""
        self.stages = method_stages(recipe, method)
        self._recipe = recipe
        self._method = method
        self._run_folder = run_folder
        self._folder = folder
        self._processes = processes
        self._console = console
        self._model: Any = None
        self._num_stages_done = -1

    def stage_inputs(
        self, number: int, before: Manifest, corpus: Manifest, instruct: Manifest | None
    ) -> dict[str, Any]:
        """Return what a stage depends on; of the conversations only a stage of kind chat."""
        is_chat = self.stages[number].kind == "chat"
        return {
            **({"instruct": instruct.fingerprint} if is_chat and instruct is not None else {}),
            "method": self._method.model_dump(mode="json"),
            "stage": self.stages[number].model_dump(mode="json"),
            "training": training_inputs(self._recipe),
            "languages": self._recipe.languages.model_dump(mode="json"),
            "seed": self._recipe.seed,
            "before": before.fingerprint,
            "corpus": corpus.fingerprint,
        }

    def train(self, number: int, folder: Path) -> dict[str, Any]:
        """Train one stage."""
        stage = self.stages[number]
        self._check_mesh()
        loader = make_loader(self._recipe, stage, text_folder(self._run_folder, stage))
        samples = num_samples(stage, self._recipe.training)
        warn_of_repetition(loader, samples, self._console)
        outline = self._outline_after(number)
        model = self._model_after(number) if outline is None else outline.model
        result = train_stage(
            model,
            stage=stage,
            training=self._recipe.training,
            languages=self._recipe.languages,
            loader=loader,
            seed=self._recipe.seed,
            folder=folder,
            processes=self._processes,
            console=self._console,
            gauge=heldout_gauge(model, self._recipe, self._run_folder),
            sources=outline.sources if outline else None,
        )
        self._num_stages_done = number + 1
        given = self._recipe.training
        is_changed = given.quantize_frozen or given.compile or given.experts != "auto"
        if self._processes.world_size > 1 or is_changed:
            self._model = None  # sharded, coded, compiled; what comes next loads the plain one
        if self._processes.is_leader:
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        epochs, schedule = loader.index.epochs(samples), loader.index.schedule
        first, last = schedule.shares(0), schedule.shares(samples)
        return {
            "steps": result.num_steps,
            "tokens": result.num_tokens,
            "trained_parameters": result.num_trained,
            "frozen_fingerprint": result.frozen_fingerprint,
            "seconds": result.seconds,
            "epochs": {code: round(times, 3) for code, times in epochs.items()},
            "shares": {code: [round(first[code], 4), round(last[code], 4)] for code in epochs},
            "rare_tokens": len(self._rare_tokens()),
            "spikes": [asdict(spike) for spike in result.spikes],
        }

    def evaluate(self, name: str, folder: Path, fingerprint: str) -> dict[str, Any]:
        """Evaluate the base or the model after a stage, whose step has this fingerprint."""
        tokenizer, is_tuned = tokenizer_folder(base_folder(self._run_folder)), False
        if name == "base":
            model = load_base(base_folder(self._run_folder))
            model.to(self._processes.device)
        else:
            names = [stage.name for stage in self.stages]
            number = names.index(name)
            is_tuned = self.stages[number].kind == "chat"
            if is_tuned:
                tokenizer = self._chat_tokenizer
            elif self._extension is not None:
                tokenizer = self._extension
            model = self._model_after(number + 1)
        found = evaluate_model(
            model,
            self._recipe,
            corpus=self._run_folder / "corpus",
            tokenizer=tokenizer,
            instruct=self._run_folder / INSTRUCT if self._recipe.instruct else None,
            is_tuned=is_tuned,
            cache=TaskCache(
                folder=self._run_folder / "cache" / "tasks",
                model=fingerprint,
                report=self._console.print,
            ),
        )
        found.write(folder)
        return {
            "bits_per_byte": {c: round(s.bits_per_byte, 4) for c, s in found.heldout.items()},
            "tasks": {suite: len(scores) for suite, scores in found.tasks.items()},
            "not_run": {suite: [asdict(n) for n in each] for suite, each in found.not_run.items()},
        }

    def save_graft(self, folder: Path) -> dict[str, Any]:
        """Save the small form after the last stage."""
        model = self._model_after(len(self.stages))
        save(
            model,
            folder,
            base=base_folder(self._run_folder),
            tokenizer=self._chat_tokenizer if self._has_chat else None,
        )
        return {"is_base_changed": graft_info(model).is_base_changed}

    def plan(self) -> Plan:
        """Count the grafted model."""
        model = empty_base(base_folder(self._run_folder))
        graft_model(model, self._method, rare_tokens=self._rare_tokens(), tokenizer=self._extension)
        return plan_method(model, self.stages, self._recipe.training, self._method.key)

    @property
    def is_base_changed(self) -> bool:
        """Whether a stage trains the base's own weights, so that no guard can restore it."""
        return any(stage.trains == "everything" for stage in self.stages)

    @property
    def _has_chat(self) -> bool:
        """Whether a stage trains on conversations, so that the graft carries their template."""
        return any(stage.kind == "chat" for stage in self.stages)

    def seconds(self) -> float:
        """Return the training time of all stages."""
        folders = [self._folder / f"train-{stage.name}" for stage in self.stages]
        return round(sum(read_manifest(folder).counts["seconds"] for folder in folders), 3)

    def _rare_tokens(self) -> list[int]:
        if self._method.token_rows != "rare":
            return []
        corpus, original = self._run_folder / "corpus", self._recipe.languages.original
        counts = [open_stream(corpus, code).token_counts for code in original]
        # Tokens beyond the base's have rows of their own, which train whatever is rare.
        known = self._num_rows_of_base()
        return rare_tokens([count[:known] for count in counts], self._method.token_rows_share)

    def _num_rows_of_base(self) -> int | None:
        own = tokenizer_folder(base_folder(self._run_folder))
        folders = [folder for folder in (own, self._tokenizer) if is_extended(folder)]
        return Extension.read(folders[0]).first_new_id if folders else None

    @property
    def _tokenizer(self) -> Path:
        """Folder of the tokenizer that the corpus was read with."""
        return self._run_folder / "tokenizer"

    @property
    def _chat_tokenizer(self) -> Path:
        """Folder of the same tokenizer with the chat template that was trained."""
        return self._run_folder / INSTRUCT / TOKENIZER

    @property
    def _extension(self) -> Path | None:
        """Folder of the extended tokenizer, where this run extends it."""
        return self._tokenizer if self._recipe.tokenizer is not None else None

    def _model_after(self, num_stages: int) -> Any:
        """Return the model after so many stages: the one in memory, or rebuilt from files."""
        if self._model is None or self._num_stages_done != num_stages:
            dtype = getattr(torch, self._recipe.training.dtype)
            base = load_base(base_folder(self._run_folder), dtype)
            self._model = graft_model(base, self._method, **self._graft_settings)
            for stage in self.stages[:num_stages]:
                path = self._weights_of(stage)
                load_tensors(self._model, read_tensors(path), path)
                graft_info(self._model).is_base_changed |= stage.trains == "everything"
            self._model.to(self._processes.device)
            self._num_stages_done = num_stages
        return self._model

    def _outline_after(self, num_stages: int) -> Outline | None:
        """Return the model after so many stages without weights, for processes that share it.

        None for one process alone, and with a remark where the weights must be loaded whole.
        """
        if self._processes.world_size == 1:
            return None
        dtype = getattr(torch, self._recipe.training.dtype)
        folder = base_folder(self._run_folder)
        try:
            outline = outline_graft(folder, self._method, dtype=dtype, **self._graft_settings)
        except ModelError as error:
            self._console.print(
                f"  Every process loads the whole model before it is sharded: {error}.",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
            return None
        for stage in self.stages[:num_stages]:
            outline.add_trained(self._weights_of(stage))
            graft_info(outline.model).is_base_changed |= stage.trains == "everything"
        return outline

    @property
    def _graft_settings(self) -> dict[str, Any]:
        return {
            "rare_tokens": self._rare_tokens(),
            "tokenizer": self._extension,
            "languages": self._recipe.languages,
            "seed": self._recipe.seed,
        }

    def _weights_of(self, stage: Stage) -> Path:
        return self._folder / f"train-{stage.name}" / WEIGHTS

    def _check_mesh(self) -> None:
        """Refuse a mesh that does not fit before anything is loaded."""
        counts = getattr(self._method, "new_experts", ())
        experts = counts if isinstance(counts, tuple) else (counts,)
        check_mesh(self._recipe.training.mesh, self._processes.world_size, experts)


def method_stages(recipe: Recipe, method: AbstractMethod) -> tuple[Stage, ...]:
    """Return a method's stages: the recipe's own as written, a baseline's completed anew."""
    if method.key == recipe.method.key:
        return recipe.stages
    has_new_tokens = recipe.tokenizer is not None
    blank = {"trains": None, "losses": None}
    given = method.stages or [stage.model_copy(update=blank) for stage in recipe.stages]
    return tuple(method.complete_stage(stage, has_new_tokens=has_new_tokens) for stage in given)
