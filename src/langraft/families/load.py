"""Load pretrained models and tokenizers from a folder or a hub; refuse unsuitable ones early."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from langraft.core.base_files import (
    check_tokenizer_files,
    read_end_ids,
    read_model_config,
)
from langraft.core.errors import ModelError
from langraft.families.from_gguf.cache import folder_of_gguf, is_gguf
from langraft.families.tensors import TensorFiles

_KERNELS = ("attn_implementation", "_attn_implementation", "experts_implementation")
_EXPERT_COUNTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_FILES_OF_MODEL = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
FILES_OF_TOKENIZER = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
)
FILES_FOR_SERVING = ("chat_template*", "chat_template*/*", "generation_config.json")


def resolve_base(reference: str, files: Sequence[str] = _FILES_OF_MODEL) -> Path:
    """Return the local folder of a base: the folder itself, or a cached one.

    What a hub gives is downloaded into the cache, what a GGUF file holds is written there.

    Args:
        reference: Folder, hub name or path of a GGUF file.
        files: Patterns of the files to download beside the config.

    Raises:
        ModelError: when there is no such folder and the hub does not give it, or a GGUF file is
            missing, damaged or holds no base.
        MissingExtraError: when the packages that read GGUF are needed and not installed.
        ArtifactError: when the cache cannot be written.
    """
    path = Path(reference)
    if path.is_dir():
        return path
    if is_gguf(path):
        return folder_of_gguf(path)
    if path.is_absolute() or reference.startswith(".") or reference.count("/") != 1:
        raise ModelError(
            f"There is no folder {reference}. `base` is a folder with config.json, weights and "
            "tokenizer.json, a GGUF file (name.gguf), or a hub name such as "
            "meta-llama/Llama-3.2-1B."
        )
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(reference, allow_patterns=["config.json", *files])
    except Exception as error:  # network, name, licence: they share no useful base class
        raise ModelError(
            f"There is no folder {reference} here, and the hub did not give a model of that name: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}. "
            "Check the name, log in if the model is gated, or give a local folder."
        ) from error
    return Path(folder)


def check_base(folder: Path) -> dict[str, Any]:
    """Check that a base can be grafted and return its config.

    Raises:
        ModelError: when config or tokenizer is missing, the model is an encoder, an
            encoder-decoder, quantized or already a mixture of experts, or loading it would run
            code of its own.
    """
    if not (folder / "config.json").exists():
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
        advice = "Give the folder that `save_pretrained` wrote."
        if found_gguf := sorted(folder.glob("*.gguf")):
            advice = f"To take a GGUF file as base give its path: {found_gguf[0]}."
        if (folder / "graft" / "graft.json").is_file():
            advice = f"It is a run folder; to expand its graft again give {folder / 'graft'}."
        raise ModelError(
            f"{folder} has no config.json (it holds {found}), so it is no Hugging Face model. "
            f"{advice}"
        )
    config = read_model_config(folder)
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
    if config.get("quantization_config"):
        kind = config["quantization_config"].get("quant_method", "unknown")
        raise ModelError(
            f"{folder} is saved quantized ({kind}), and experts are copied from plain weights. "
            "Give the model it was made from, or save it again after `model.dequantize()`. To "
            "save memory in training, set training.quantize_frozen instead."
        )
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder} holds an adapter (adapter_config.json), with which transformers loads "
            "another model. Merge it first: PeftModel.from_pretrained(...).merge_and_unload()."
        )
    load_config(folder)
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(
            f"{folder} has no tokenizer.json. Save the model's fast tokenizer there: "
            "AutoTokenizer.from_pretrained(...).save_pretrained(folder)."
        )
    return config


def load_config(folder: Path) -> PreTrainedConfig:
    """Load the config of a model's folder; no code of the folder is run, or asked about.

    Raises:
        ModelError: when it is none that transformers knows, or asks for code of its own.
    """
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of transformers or the system
        raise ModelError(
            f"transformers knows no model for {folder / 'config.json'}: {_first_line(error)} "
            "langraft runs no code that comes with a model. Give a base that transformers loads "
            "without it."
        ) from error
    for key in _KERNELS:
        if "/" in str(getattr(config, key, "")):
            raise ModelError(
                f"{folder / 'config.json'}: {key} is {getattr(config, key)!r}, code from a hub, "
                "which langraft does not run. Take the key out."
            )
    return config


def build_model(config: PreTrainedConfig, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """Build the causal language model of a config, with the weights of its initialisation."""
    return AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)


def load_model(
    folder: Path, dtype: torch.dtype = torch.float32, *, has_own_code: bool = False
) -> PreTrainedModel:
    """Load a causal language model from a folder.

    Args:
        folder: Config and weights.
        dtype: Precision of the weights in memory.
        has_own_code: Run the modelling file in the folder; only for folders that langraft wrote.

    Raises:
        ModelError: when it has no weights, or they do not fit its config.
        ArtifactError: when a file of them is missing or damaged.
    """
    TensorFiles.of_folder(folder)  # names a file that is damaged, which transformers does not
    read_end_ids(folder)  # transformers checks this file only while it generates
    if not has_own_code:
        load_config(folder)
    with _explain_errors(f"The model in {folder}"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Initializing zero-element tensors")
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            output_loading_info=True,
            trust_remote_code=has_own_code,
            use_safetensors=True,
        )
    model, report = loaded
    # Parameters of size zero (the shared expert of an exported Qwen2-MoE) are in no file.
    missing = sorted(k for k in report["missing_keys"] if model.get_parameter(k).numel())
    if missing:
        raise ModelError(
            f"The weights in {folder} lack {len(missing)} tensors of its config, for example "
            f"{missing[0]}. The folder is incomplete."
        )
    return model


def empty_model(folder: Path) -> PreTrainedModel:
    """Build the model of a folder's config on the meta device, without weights.

    Raises:
        ModelError: when transformers makes no model of the config.
    """
    config = load_config(folder)
    with _explain_errors(f"The config.json in {folder}"), torch.device("meta"):
        return build_model(config)


def load_tokenizer(folder: Path, *, has_own_code: bool = False) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model's folder.

    Args:
        folder: Tokenizer and config.
        has_own_code: Run the modelling file in the folder, which transformers asks for when the
            config names one.

    Raises:
        ModelError: when its files are missing or damaged, or ask for code of their own.
    """
    check_tokenizer_files(folder)
    with _explain_errors(f"The tokenizer in {folder}"):
        return AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=has_own_code
        )


@contextlib.contextmanager
def _explain_errors(what: str) -> Generator[None]:
    """Turn any error of a library that reads a model's files into a ModelError."""
    try:
        yield
    except Exception as error:  # of transformers, tokenizers, safetensors or the system
        raise ModelError(f"{what} cannot be loaded: {type(error).__name__}: {error}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
