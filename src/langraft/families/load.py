"""Pretrained models and tokenizers from a folder or a hub, refused early when unfit."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from langraft.core.errors import ModelError

_EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")


_FILES_OF_MODEL = ("*.json", "*.safetensors", "*.model", "*.txt")
FILES_OF_TOKENIZER = ("tokenizer*", "special_tokens_map.json", "config.json")


def resolve_base(reference: str, files: Sequence[str] = _FILES_OF_MODEL) -> Path:
    """Return the local folder of a base: the folder itself, or a hub's snapshot, downloaded once.

    Args:
        reference: Folder or hub name.
        files: What is needed of it, if it is downloaded.

    Raises:
        ModelError: when there is no such folder and the hub does not give it.
    """
    path = Path(reference)
    if path.is_dir():
        return path
    if path.is_absolute() or reference.startswith(".") or reference.count("/") != 1:
        raise ModelError(
            f"There is no folder {reference}. `base` is a folder with config.json, weights and "
            "tokenizer.json, or a hub name such as meta-llama/Llama-3.2-1B."
        )
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(reference, allow_patterns=list(files))
    except Exception as error:  # network, name, licence: the hub's errors share no useful base
        raise ModelError(
            f"There is no folder {reference} here, and the hub did not give a model of that name: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}. "
            "Check the name, log in if the model is gated, or give a local folder."
        ) from error
    return Path(folder)


def check_base(folder: Path) -> dict[str, Any]:
    """Return the base's config after refusing what cannot be grafted.

    Raises:
        ModelError: without a config or tokenizer; for an encoder, an encoder-decoder, or a model
            that is a mixture of experts already.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
        advice = "Give the folder that `save_pretrained` wrote."
        if (folder / "graft" / "graft.json").is_file():
            advice = f"It is a run folder; to expand its graft again give {folder / 'graft'}."
        raise ModelError(
            f"{folder} has no config.json (it holds {found}), so it is no Hugging Face model. "
            f"{advice}"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{folder / 'config.json'} is damaged: {error}.") from None
    architectures = config.get("architectures") or []
    named = ", ".join(architectures) or "no architecture"
    if config.get("is_encoder_decoder"):
        raise ModelError(f"{folder} is an encoder-decoder ({named}). langraft grafts decoders.")
    if not any("CausalLM" in name or "LMHead" in name for name in architectures):
        raise ModelError(
            f"{folder} is no decoder with a language-model head: its config names {named}. "
            "langraft grafts causal language models (LlamaForCausalLM, Qwen3ForCausalLM, ...)."
        )
    experts = {key: config[key] for key in _EXPERT_COUNTS if (config.get(key) or 0) > 1}
    if experts:
        key, value = next(iter(experts.items()))
        raise ModelError(
            f"{folder} is a mixture of experts already ({named}, {key} = {value}). "
            "langraft grafts dense models; give the dense base it was made from."
        )
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(
            f"{folder} has no tokenizer.json. Save the model's fast tokenizer there: "
            "AutoTokenizer.from_pretrained(...).save_pretrained(folder)."
        )
    return config


def load_model(
    folder: Path, dtype: torch.dtype = torch.float32, *, has_own_code: bool = False
) -> PreTrainedModel:
    """Load a causal language model from a folder.

    Args:
        folder: Config and weights.
        dtype: Precision of the weights in memory.
        has_own_code: Run the modelling file that the folder may hold; only for what we wrote.

    Raises:
        ModelError: when its weights are missing, damaged or do not fit its config.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                local_files_only=True,
                output_loading_info=True,
                trust_remote_code=has_own_code,
            )
    except Exception as error:  # transformers, safetensors and OS errors share no base
        raise ModelError(f"The model in {folder} cannot be loaded: {error}") from error
    model, report = loaded
    # Parts of size zero (the shared expert of an exported Qwen2-MoE) have nothing to be missing.
    missing = sorted(k for k in report["missing_keys"] if model.get_parameter(k).numel())
    if missing:
        raise ModelError(
            f"The weights in {folder} lack {len(missing)} tensors of its config, for example "
            f"{missing[0]}. The folder is incomplete."
        )
    return model


def empty_model(folder: Path) -> PreTrainedModel:
    """Build the model of a folder's config without weights, on the meta device."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))


def load_tokenizer(folder: Path, *, has_own_code: bool = False) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model's folder.

    Args:
        folder: Tokenizer and config.
        has_own_code: Whether the folder's modelling file may run: transformers reads the config
            first, and where that names such a file it asks.
    """
    return AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=has_own_code
    )
