"""The base of a run and its tokenizer: a folder, a model of a hub, or one trained here."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig

from langraft.core.artifacts import Manifest
from langraft.core.errors import ModelError, did_you_mean
from langraft.core.files import write_json
from langraft.core.settings.recipe import Recipe
from langraft.core.settings.scratch_base import ScratchBase
from langraft.core.settings.stage import Stage
from langraft.corpus.filter import AbstractFilter
from langraft.corpus.reading.addresses import fingerprint_stored
from langraft.corpus.source import AbstractSource
from langraft.families.from_gguf.cache import is_gguf
from langraft.families.load import FILES_FOR_SERVING, FILES_OF_TOKENIZER, build_model, resolve_base
from langraft.families.tensors import TensorFiles, load_tensors, save_whole_model
from langraft.graft.description import (
    base_model_folder,
    fingerprint_base,
    fingerprint_files,
    tokenizer_folder,
)
from langraft.graft.methods.full import Full
from langraft.graft.surgery import graft_model
from langraft.recipes.run_context import RunContext
from langraft.recipes.steps.base_samples import sample_inputs, sampled_sources
from langraft.recipes.steps.tokenizers import extend_on_corpus, train_on_corpus
from langraft.recipes.steps.training import load_stage, train_model, training_inputs
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.tokenizers.extension import copy_tokenizer
from langraft.train.loop import WEIGHTS

_MOST_LAYERS = 1000


def scratch_config(base: ScratchBase, eos_token_id: int) -> Any:
    """Return the transformers config of a base that is trained here.

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
    except Exception as error:  # transformers raises many kinds of errors
        raise ModelError(
            f"base.architecture {base.architecture!r} with base.config {dict(base.config)} is not "
            f"a model that transformers can build: {error}"
        ) from error
    known = [*config.to_dict(), *config.attribute_map]
    defaults = [*AutoConfig.for_model(base.architecture).to_dict(), *config.attribute_map]
    for name in base.config:
        meant = did_you_mean(name, defaults)
        if (
            name in known and name not in defaults and meant
        ):  # transformers keeps it without using it
            raise ModelError(f"base.config.{name}: unknown to {base.architecture} models.{meant}")
    for name, real_name in config.attribute_map.items():
        if name in base.config and real_name in base.config:
            raise ModelError(
                f"base.config gives both {name} and {real_name}, which a {base.architecture} model "
                f"takes for the same. Leave {name} out."
            )
    return config


def empty_scratch_model(base: ScratchBase) -> Any:
    """Build a base that is trained here without weights, on the meta device.

    Raises:
        ModelError: when transformers cannot build it, or it has more layers than any model.
    """
    config = scratch_config(base, eos_token_id=0)
    if config.num_hidden_layers > _MOST_LAYERS:  # each of which takes time
        raise ModelError(
            f"base.config: {config.num_hidden_layers:,} layers are asked for; {_MOST_LAYERS:,} are "
            "the most."
        )
    try:
        with torch.device("meta"):
            return build_model(config)
    except Exception as error:  # transformers and torch raise many kinds of errors
        raise ModelError(
            f"base.architecture {base.architecture!r} with base.config {dict(base.config)} is no "
            f"language model that transformers can build: {error}"
        ) from error


def text_inputs(recipe: Recipe) -> dict[str, Any]:
    """Return what the text depends on: sources, fingerprints of their files, and filters.

    What the base writes depends on its inputs alone, so it need not be written yet.
    """
    samples = {label: sample_inputs(recipe, s) for label, s in sampled_sources(recipe).items()}
    sources = [cast("AbstractSource", source) for source in recipe.corpus.sources]
    return {
        "sources": [[source.model_dump(mode="json"), source.fingerprint()] for source in sources],
        "filters": [
            [each.model_dump(mode="json"), fingerprint_stored(each.files(recipe.languages.all))]
            for each in cast("Sequence[AbstractFilter]", recipe.corpus.filters)
        ],
        **({"samples": samples} if samples else {}),
    }


def tokenizer_inputs(recipe: Recipe) -> dict[str, Any]:
    """Return what the tokenizer depends on."""
    base = recipe.base
    if isinstance(base, ScratchBase):
        return {
            "tokenizer": base.tokenizer.model_dump(mode="json"),
            "mixture": base.tokenizer_mixture,
            **text_inputs(recipe),
        }
    own = tokenizer_folder(resolve_base(base))
    inputs = {"base": base, "files": fingerprint_files(own, (*FILES_OF_TOKENIZER, "config.json"))}
    if recipe.tokenizer is None:
        return inputs
    return inputs | {
        "extension": recipe.tokenizer.model_dump(mode="json"),
        "languages": recipe.languages.model_dump(mode="json"),
        **text_inputs(recipe),
    }


def make_tokenizer(recipe: Recipe, folder: Path) -> dict[str, Any]:
    """Train the tokenizer of a base that is trained here, or copy or extend the base's."""
    base, new_tokens = recipe.base, 0
    if isinstance(base, ScratchBase):
        train_on_corpus(recipe.corpus, base.tokenizer, base.tokenizer_mixture, folder)
        eos = DocumentTokenizer(folder).end_of_text_id
        write_json(folder / "config.json", {"eos_token_id": eos})
    elif recipe.tokenizer is not None:
        own = tokenizer_folder(resolve_base(base))
        extension = extend_on_corpus(recipe.corpus, recipe.tokenizer, recipe.languages, own, folder)
        new_tokens = len(extension.pieces)
    else:
        copy_tokenizer(tokenizer_folder(resolve_base(base)), folder)
    return {"vocab_size": DocumentTokenizer(folder).vocab_size, "new_tokens": new_tokens}


def base_inputs(recipe: Recipe, corpus: Manifest) -> dict[str, Any]:
    """Return what the base depends on."""
    base = recipe.base
    if isinstance(base, ScratchBase):
        return {
            "base": base.model_dump(mode="json"),
            "training": training_inputs(recipe),
            "seed": recipe.seed,
            "corpus": corpus.fingerprint,
        }
    return {"base": base, "fingerprint": fingerprint_base(resolve_base(base))}


def served_inputs(recipe: Recipe) -> dict[str, Any]:
    """Return what answers of the base depend on beside its weights, and exports copy."""
    if isinstance(recipe.base, ScratchBase):
        return {}
    folder = base_model_folder(resolve_base(recipe.base))
    return {"base_files": fingerprint_files(folder, FILES_FOR_SERVING)}


def scratch_stage(base: ScratchBase) -> Stage:
    """Return the stage that trains a base from scratch: all weights, no side losses."""
    return base.stage.model_copy(update={"trains": "everything", "losses": {}})


def make_base(run: RunContext, folder: Path) -> dict[str, Any]:
    """Train a base from scratch and save it as transformers does, or note where the base is."""
    base = run.recipe.base
    if not isinstance(base, ScratchBase):
        folder = resolve_base(base).resolve()
        path = Path(base).resolve() if is_gguf(Path(base)) else folder
        return {"path": str(path), "fingerprint": fingerprint_base(folder)}
    torch.manual_seed(run.recipe.seed)
    config = scratch_config(base, DocumentTokenizer(run.tokenizer).end_of_text_id)
    model: Any = graft_model(build_model(config), Full())
    stage = scratch_stage(base)
    result = train_model(run, model, stage, load_stage(run, stage), folder)
    if run.processes.is_leader:
        whole_model: Any = build_model(config)
        load_tensors(whole_model, TensorFiles.of_file(folder / WEIGHTS))
        save_whole_model(whole_model, folder / "model")
        for path in run.tokenizer.glob("tokenizer*"):
            shutil.copy(path, folder / "model" / path.name)
    return {
        "path": "model",
        "fingerprint": fingerprint_base(folder / "model") if run.processes.is_leader else "",
        "tokens": result.num_tokens,
        "seconds": result.seconds,
        "spikes": [asdict(spike) for spike in result.spikes],
    }
