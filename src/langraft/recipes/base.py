"""The base of a run and its tokenizer: from a folder, from a hub, or trained from nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from langraft.core.artifacts import Manifest, read_manifest, write_json
from langraft.core.errors import ModelError, did_you_mean
from langraft.core.recipe import Recipe, ScratchBase
from langraft.core.stage import Stage
from langraft.core.streams import stream_name
from langraft.core.training import Training
from langraft.corpus.build import read_heldout
from langraft.corpus.shards import open_stream
from langraft.corpus.source import AbstractSource
from langraft.corpus.tokenizer import DocumentTokenizer
from langraft.corpus.vocabulary.extension import copy_tokenizer
from langraft.curriculum.index import MANY_EPOCHS, MixtureIndex
from langraft.curriculum.loader import Batch, PackedLoader
from langraft.curriculum.resolve import resolve
from langraft.evaluate.heldout import score_heldout
from langraft.families.load import resolve_base
from langraft.graft.methods.full import Full
from langraft.graft.store import (
    fingerprint_base,
    load_tensors,
    read_tensors,
    tokenizer_folder,
)
from langraft.graft.surgery import graft_model
from langraft.recipes.tokenizers import extend_on_corpus, train_on_corpus
from langraft.train.loop import WEIGHTS, Gauge, num_steps, train_stage
from langraft.train.parallel import Processes


def scratch_config(base: ScratchBase, eos_token_id: int) -> Any:
    """Return the transformers config of a base to be trained.

    Raises:
        ModelError: when the architecture is unknown or refuses its arguments.
    """
    try:
        config = AutoConfig.for_model(
            base.architecture,
            bos_token_id=None,
            eos_token_id=eos_token_id,
            pad_token_id=None,
            **{"vocab_size": base.tokenizer.vocab_size, **base.config},
        )
    except Exception as error:  # transformers raises many kinds for wrong arguments
        raise ModelError(
            f"base.architecture {base.architecture!r} with base.config {dict(base.config)} is not "
            f"a model that transformers can build: {error}"
        ) from error
    known = [*config.to_dict(), *config.attribute_map]
    defaults = [*AutoConfig.for_model(base.architecture).to_dict(), *config.attribute_map]
    for name in base.config:
        meant = did_you_mean(name, defaults)
        if name in known and name not in defaults and meant:  # kept, and read by nobody
            raise ModelError(f"base.config.{name}: unknown to {base.architecture} models.{meant}")
    for name, real_name in config.attribute_map.items():
        if name in base.config and real_name in base.config:
            raise ModelError(
                f"base.config gives both {name} and {real_name}, which a {base.architecture} model "
                f"takes for the same. Leave {name} out."
            )
    return config


def text_inputs(recipe: Recipe) -> dict[str, Any]:
    """Return what the text depends on: the sources, what they would read, and the filters."""
    sources = [cast("AbstractSource", source) for source in recipe.corpus.sources]
    return {
        "sources": [[source.model_dump(mode="json"), source.fingerprint()] for source in sources],
        "filters": [each.model_dump(mode="json") for each in recipe.corpus.filters],
    }


class BaseSource:
    """Where the base and its tokenizer come from: a folder, a hub, or training."""

    def __init__(self, recipe: Recipe, folder: Path) -> None:
        """Bind a recipe to the run's folder."""
        self._recipe = recipe
        self._folder = folder

    def tokenizer_inputs(self) -> dict[str, Any]:
        """Return what the tokenizer depends on."""
        base = self._recipe.base
        if isinstance(base, ScratchBase):
            return {
                "tokenizer": base.tokenizer.model_dump(mode="json"),
                "mixture": base.tokenizer_mixture,
                **text_inputs(self._recipe),
            }
        inputs = {"base": base, "fingerprint": fingerprint_base(resolve_base(base))}
        if self._recipe.tokenizer is None:
            return inputs
        return inputs | {
            "extension": self._recipe.tokenizer.model_dump(mode="json"),
            "languages": self._recipe.languages.model_dump(mode="json"),
            **text_inputs(self._recipe),
        }

    def make_tokenizer(self, folder: Path) -> dict[str, Any]:
        """Train the tokenizer of a scratch base, or copy or extend the base's."""
        recipe, base = self._recipe, self._recipe.base
        new_tokens = 0
        if isinstance(base, ScratchBase):
            train_on_corpus(recipe.corpus, base.tokenizer, base.tokenizer_mixture, folder)
            eos = DocumentTokenizer(folder).end_of_text_id
            write_json(folder / "config.json", {"eos_token_id": eos})
        elif recipe.tokenizer is not None:
            own = tokenizer_folder(resolve_base(base))
            extension = extend_on_corpus(
                recipe.corpus, recipe.tokenizer, recipe.languages, own, folder
            )
            new_tokens = len(extension.pieces)
        else:
            copy_tokenizer(tokenizer_folder(resolve_base(base)), folder)
        return {"vocab_size": DocumentTokenizer(folder).vocab_size, "new_tokens": new_tokens}

    def base_inputs(self, corpus: Manifest) -> dict[str, Any]:
        """Return what the base depends on."""
        base = self._recipe.base
        if isinstance(base, ScratchBase):
            return {
                "base": base.model_dump(mode="json"),
                "training": training_inputs(self._recipe),
                "seed": self._recipe.seed,
                "corpus": corpus.fingerprint,
            }
        return {"base": base, "fingerprint": fingerprint_base(resolve_base(base))}

    def make_base(self, folder: Path, processes: Processes, console: Console) -> dict[str, Any]:
        """Train a scratch base and save it as transformers does; a given base stays where it is."""
        base = self._recipe.base
        if not isinstance(base, ScratchBase):
            path = resolve_base(base).resolve()
            return {"path": str(path), "fingerprint": fingerprint_base(path)}
        tokenizer = DocumentTokenizer(self._folder / "tokenizer")
        torch.manual_seed(self._recipe.seed)
        config = scratch_config(base, tokenizer.end_of_text_id)
        model: Any = graft_model(AutoModelForCausalLM.from_config(config), Full())
        stage = base.stage.model_copy(update={"trains": "everything", "losses": {}})
        loader = make_loader(self._recipe, stage, self._folder / "corpus")
        warn_of_repetition(loader, num_samples(stage, self._recipe.training), console)
        result = train_stage(
            model,
            stage=stage,
            training=self._recipe.training,
            languages=self._recipe.languages,
            loader=loader,
            seed=self._recipe.seed,
            folder=folder,
            processes=processes,
            console=console,
            gauge=heldout_gauge(model, self._recipe, self._folder),
        )
        if processes.is_leader:
            whole_model: Any = AutoModelForCausalLM.from_config(config)
            load_tensors(whole_model, read_tensors(folder / WEIGHTS), folder / WEIGHTS)
            whole_model.save_pretrained(folder / "model")
            for path in (self._folder / "tokenizer").glob("tokenizer*"):
                shutil.copy(path, folder / "model" / path.name)
            (folder / WEIGHTS).unlink()
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        return {
            "path": "model",
            "fingerprint": fingerprint_base(folder / "model") if processes.is_leader else "",
            "tokens": result.num_tokens,
            "seconds": result.seconds,
            "spikes": [asdict(spike) for spike in result.spikes],
        }


def base_folder(run_folder: Path) -> Path:
    """Return the folder of the run's base: a model, or a graft that is expanded again."""
    manifest = read_manifest(run_folder / "base")
    return (run_folder / "base" / manifest.counts["path"]).resolve()


def make_loader(recipe: Recipe, stage: Stage, text: Path) -> PackedLoader:
    """Return the batches of a stage.

    Args:
        recipe: Of the run.
        stage: Text or chat.
        text: Folder of its streams: the corpus, or the packed conversations.

    Raises:
        CorpusError: when a stream has not one whole row, or ``max_epochs`` leaves too little text.
    """
    length = recipe.training.sequence_length
    members = stage_members(recipe, stage)
    streams = dict.fromkeys(stream for found in members.values() for stream in found)
    shards = {stream: open_stream(text, stream) for stream in streams}
    schedule = resolve(
        stage,
        members,
        {stream: shard.num_tokens for stream, shard in shards.items()},
        num_samples=num_samples(stage, recipe.training),
        sequence_length=length,
    )
    num_rows = {stream: shard.num_tokens // length for stream, shard in shards.items()}
    index = MixtureIndex(schedule, num_rows, recipe.seed, stage.name)
    return PackedLoader(index, shards, recipe.languages.all, length)


def stage_members(recipe: Recipe, stage: Stage) -> dict[str, tuple[str, ...]]:
    """Return what each key of a stage's mixtures stands for."""
    keys = dict.fromkeys(key for mixture in stage.mixtures.values() for key in mixture)
    return {key: recipe.text.members(key) for key in keys}


def num_samples(stage: Stage, training: Training) -> int:
    """Return the rows that a stage trains on."""
    return num_steps(stage, training) * training.batch_rows


def warn_of_repetition(loader: PackedLoader, samples: int, console: Console) -> None:
    """Say which text a stage will read so often that it teaches little more."""
    for stream, times in loader.index.epochs(samples).items():
        if times > MANY_EPOCHS:
            console.print(
                f"  {stream_name(stream)} ({stream}) will be read {times:.1f} times; beyond about "
                f"{MANY_EPOCHS:g} repeated text teaches much less than new. max_epochs of the "
                "stage is a cap.",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


def heldout_gauge(model: Any, recipe: Recipe, run_folder: Path) -> Gauge | None:
    """Return what scores held-out text while a model trains, where the recipe asks for it."""
    if recipe.evaluate.every is None:
        return None
    tokenizer = DocumentTokenizer(run_folder / "tokenizer")
    length = recipe.training.sequence_length
    texts = {code: read_heldout(run_folder / "corpus" / code) for code in recipe.languages.all}

    def measure(losses_of: Callable[[Batch], Tensor]) -> dict[str, float]:
        return {
            code: score_heldout(model, found, tokenizer, length, (), losses_of).bits_per_byte
            for code, found in texts.items()
        }

    return Gauge(every_tokens=recipe.evaluate.every, measure=measure)


def training_inputs(recipe: Recipe) -> dict[str, Any]:
    """Return the training settings that change weights, not those that only watch.

    How often checkpoints are written changes them where a spike goes back to one. Which kernels
    run, what is recomputed and how many processes share the work changes rounding at most: a run
    may go on elsewhere.
    """
    outside = {"tensorboard", "compile", "experts", "mesh", "activation_checkpointing"}
    if recipe.training.spikes is None:
        outside.add("checkpoint_every")
    return recipe.training.model_dump(mode="json", exclude=outside)
