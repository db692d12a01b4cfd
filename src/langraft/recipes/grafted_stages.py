"""The grafted model of one method before, between and after its stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from langraft.core.artifacts import Manifest, read_manifest
from langraft.core.errors import ArtifactError, ModelError
from langraft.core.files import read_json_lines
from langraft.core.settings.stage import Stage
from langraft.corpus.storage.shards import open_stream
from langraft.families.tensors import TensorFiles, load_tensors
from langraft.graft.base_tensors import merge_with_base
from langraft.graft.description import base_model_folder, tokenizer_folder
from langraft.graft.freeze import parameter_groups, set_trainable
from langraft.graft.meta_init import UnloadedGraft, graft_on_meta
from langraft.graft.method import AbstractMethod, method_stages
from langraft.graft.store import load_base
from langraft.graft.surgery import graft_info, graft_model
from langraft.graft.wrappers.token_rows import rare_tokens
from langraft.recipes.run_context import RunContext
from langraft.recipes.steps.columns import read_free_columns
from langraft.recipes.steps.conversations import TOKENIZER
from langraft.tokenizers.extension import Extension, is_extended
from langraft.train.log import LOG
from langraft.train.loop import WEIGHTS


@dataclass(frozen=True, slots=True)
class _RoutedStep:
    """The key of a step's record that says where routers sent its tokens; None without routers."""

    original_rows: float | None = None


class GraftedStages:
    """The stages of one method, with the model after any number of them.

    The model stays in memory from one step to the next, or is rebuilt from the files of the stages.

    Attributes:
        run: The run, its recipe with the seed of the method.
        method: The method.
        folder: Folder of the method, with a folder for each stage.
        stages: The recipe's, completed by the method.
        columns: The step that chose which columns train; None where matrices are whole.
    """

    def __init__(
        self,
        run: RunContext,
        method: AbstractMethod,
        folder: Path,
        columns: Manifest | None = None,
    ) -> None:
        """Complete the recipe's stages for a method; nothing is loaded yet."""
        self.run = run
        self.method = method
        self.folder = folder
        self.stages = method_stages(run.recipe, method)
        self.columns = columns
        self._model: Any = None
        self._num_stages_done = -1

    @property
    def is_base_changed(self) -> bool:
        """Whether a stage trains the base's own weights, so that no guard can restore it."""
        return any(stage.trains == "everything" for stage in self.stages)

    @property
    def extension(self) -> Path | None:
        """Folder of the extended tokenizer, if this run extends it."""
        return self.run.tokenizer if self.run.recipe.tokenizer is not None else None

    @property
    def chat_tokenizer(self) -> Path:
        """Folder of the tokenizer with the chat template of the run."""
        return self.run.instruct / TOKENIZER

    def tokenizer_after(self, num_stages: int) -> Path:
        """Return the folder of the tokenizer of the model after so many stages; 0 is the base."""
        if num_stages and self.stages[num_stages - 1].kind == "chat":
            return self.chat_tokenizer
        own = tokenizer_folder(self.run.base)
        return own if self.extension is None or not num_stages else self.extension

    def model_after(self, num_stages: int) -> Any:
        """Return the model after so many stages, from memory or rebuilt from files."""
        if self._model is None or self._num_stages_done != num_stages:
            base = load_base(self.run.base, self._dtype)
            self._model = graft_model(base, self.method, **self._graft_settings)
            for stage in self.stages[:num_stages]:
                load_tensors(self._model, self._trained_tensors(self._model, stage))
                graft_info(self._model).is_base_changed |= stage.trains == "everything"
            self._model.to(self.run.processes.device)
            self._num_stages_done = num_stages
        return self._model

    def evaluated_after(self, num_stages: int) -> Any:
        """Return the model after so many stages, to be evaluated.

        Weights of the base that trained are in float32 beside frozen ones in the run's precision,
        which only training multiplies by each other: the frozen ones are made float32 too.
        """
        model = self.model_after(num_stages)
        is_mixed = len({p.dtype for p in parameter_groups(model)["base"].values()}) > 1
        if is_mixed and self._dtype != torch.float32:
            model.float()
            self._model = None  # what trains on is as it was
        return model

    def merged(self, weight: float) -> Any:
        """Return the model after the last stage merged with its base; it is the caller's alone."""
        model = self.evaluated_after(len(self.stages))
        self._model = None
        merge_with_base(model, base_model_folder(self.run.base), weight)
        return model

    def unloaded_after(self, num_stages: int) -> UnloadedGraft | None:
        """Return the model after so many stages without weights, for processes that share it.

        None for a single process, and, with a message, when the weights must be loaded whole.
        """
        if self.run.processes.world_size == 1:
            return None
        try:
            unloaded = graft_on_meta(
                self.run.base, self.method, dtype=self._dtype, **self._graft_settings
            )
        except (ModelError, ArtifactError) as error:
            self.run.console.print(
                f"  Every process loads the whole model before it is sharded: {error}.",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
            return None
        for stage in self.stages[:num_stages]:
            unloaded.replace_trained(self._trained_tensors(unloaded.model, stage))
            graft_info(unloaded.model).is_base_changed |= stage.trains == "everything"
        return unloaded

    def note_trained(self, num_stages: int) -> None:
        """Note that the model in memory has been trained in one more stage.

        A model that is sharded, quantized or compiled is forgotten; what follows loads a plain one.
        """
        self._num_stages_done = num_stages
        given = self.run.recipe.training
        is_changed = given.quantize_frozen or given.compile or given.experts != "auto"
        if self.run.processes.world_size > 1 or is_changed:
            self._model = None

    def rare_tokens(self) -> list[int]:
        """Return the tokens whose rows train because original languages hardly use them."""
        if self.method.token_rows != "rare":
            return []
        languages = self.run.recipe.languages
        # Added tokens have rows of their own, which train in any case.
        own = tokenizer_folder(self.run.base)
        folders = [f for f in (own, self.run.tokenizer) if is_extended(f)]
        num_rows = Extension.read(folders[0]).first_new_id if folders else None
        counts, new_counts = (
            [open_stream(self.run.corpus, code).token_counts[:num_rows] for code in codes]
            for codes in (languages.original, languages.new if self.method.token_rows_uses else ())
        )
        return rare_tokens(
            counts,
            self.method.token_rows_share,
            new_counts=new_counts,
            uses=self.method.token_rows_uses,
        )

    def free_columns(self) -> dict[str, list[int]]:
        """Return by projection the columns that train; none where the method trains whole ones."""
        return {} if self.columns is None else read_free_columns(self.folder / "columns")

    def seconds(self) -> float:
        """Return the training time of all stages."""
        folders = [self.folder / f"train-{stage.name}" for stage in self.stages]
        return round(sum(read_manifest(folder).counts["seconds"] for folder in folders), 3)

    def original_rows(self) -> dict[str, float]:
        """Return by stage how often the frozen FFN read a token, where routers chose."""
        found = dict[str, float]()
        for stage in self.stages:
            records = read_json_lines(self.folder / f"train-{stage.name}" / LOG, _RoutedStep)
            rows = [record.original_rows for record in records if record.original_rows is not None]
            if rows:
                found[stage.name] = fmean(rows)
        return found

    @property
    def _dtype(self) -> torch.dtype:
        return getattr(torch, self.run.recipe.training.dtype)

    @property
    def _graft_settings(self) -> dict[str, Any]:
        return {
            "rare_tokens": self.rare_tokens(),
            "free_columns": self.free_columns(),
            "tokenizer": self.extension,
            "languages": self.run.recipe.languages,
            "seed": self.run.recipe.seed,
        }

    def _trained_tensors(self, model: Any, stage: Stage) -> TensorFiles:
        """Open what a stage trained.

        Raises:
            ArtifactError: when the file holds other tensors than the stage trains.
        """
        path = self.folder / f"train-{stage.name}" / WEIGHTS
        tensors = TensorFiles.of_file(path)
        assert stage.trains is not None, "complete_stage fills this in"
        trained = set_trainable(model, stage.trains, token_rows=self.method.token_rows)
        if different := sorted(trained.keys() ^ set(tensors)):
            raise ArtifactError(
                f"{path} does not hold what stage {stage.name!r} trains: {len(different)} tensors "
                f"are missing or of something else, for example {different[0]}. Delete "
                f"{path.parent}; the stage will run again."
            )
        return tensors
