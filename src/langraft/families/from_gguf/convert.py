"""A GGUF file as the folder of a base: config, weights in safetensors, tokenizer, chat template.

transformers reads config and weights, and marks what it read as quantized, which it then does not
save. So the model is built anew from its config and takes the tensors over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, modeling_gguf_pytorch_utils

from langraft.core.base_files import read_model_config
from langraft.core.errors import ModelError
from langraft.core.files import write_json, write_text
from langraft.families.from_gguf.file import GgufFile
from langraft.families.tensors import save_whole_model
from langraft.tokenizers.gguf_tokenizer import end_ids, read_tokenizer, tokenizer_config

# Keys of a config that say who wrote it, not what the model is: equal files give equal folders.
_OF_WRITER = ("transformers_version", "_name_or_path", "_model_name_or_path")


def write_base(file: GgufFile, folder: Path) -> None:
    """Write the base that a file holds.

    Args:
        file: The file.
        folder: An empty folder.

    Raises:
        ModelError: when transformers does not read its architecture, or leaves weights out.
    """
    _write_tokenizer(file, folder)
    model = _load(file)
    save_whole_model(model, folder)
    config = read_model_config(folder)
    kept = {key: _shortened(value) for key, value in config.items() if key not in _OF_WRITER}
    write_json(folder / "config.json", kept)
    ids = {f"{name}_token_id": kept.get(f"{name}_token_id") for name in ("bos", "pad")}
    ends = end_ids(file.fields)
    ids["eos_token_id"] = ends if len(ends) > 1 else next(iter(ends), None)
    write_json(
        folder / "generation_config.json", {k: v for k, v in sorted(ids.items()) if v is not None}
    )


def _load(file: GgufFile) -> Any:
    """Return the model with the file's weights, as if it had never been quantized."""
    source: dict[str, Any] = {"gguf_file": file.path.name, "local_files_only": True}
    with _explain_errors(file.path), _without_warnings(), _by_any_package():
        config: Any = AutoConfig.from_pretrained(file.path.parent, **source)
        file.check_attention(config)
        rope: Any = dict(getattr(config, "rope_parameters", None) or {})
        width = file.head_width or getattr(config, "head_dim", None)
        width = width or config.hidden_size // config.num_attention_heads
        if hasattr(config, "head_dim"):
            config.head_dim = width  # transformers leaves it at Qwen3's default
        scaling = file.rope_scaling(rope.get("rope_theta", 10_000.0), width)
        if scaling is not None:
            config.rope_parameters = rope | scaling
        found: Any = AutoModelForCausalLM.from_pretrained(
            file.path.parent, config=config, dtype=file.dtype, output_loading_info=True, **source
        )
        loaded, report = found
        with torch.device("meta"):
            model: Any = AutoModelForCausalLM.from_config(config, dtype=file.dtype)
        model.load_state_dict(loaded.state_dict(), assign=True)
        model.tie_weights()
    missing = sorted(report["missing_keys"])
    given = file.num_weights(is_head_tied=config.tie_word_embeddings)
    made = sum(parameter.numel() for parameter in model.parameters())
    if missing or given != made:
        lacks = f", lacks {missing[0]}" if missing else ""
        raise ModelError(
            f"{file.path}: its tensors hold {given:,} weights, and the {config.model_type} model "
            f"that transformers makes of it has {made:,}{lacks}. Some would be left out. Give the "
            "folder or the hub name of the model that the file was made from."
        )
    return model


def _write_tokenizer(file: GgufFile, folder: Path) -> None:
    tokenizer = read_tokenizer(file.fields, file.path)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_json(folder / "tokenizer_config.json", tokenizer_config(file.fields))
    if (template := file.fields.get("tokenizer.chat_template")) is not None:
        write_text(folder / "chat_template.jinja", template)


def _shortened(value: Any) -> Any:
    """Return a setting of a config with GGUF's 32-bit floats as they were written: 1e-05."""
    if isinstance(value, dict):
        return {key: _shortened(inner) for key, inner in value.items()}
    if isinstance(value, float) and float(np.float32(value)) == value:
        return float(str(np.float32(value)))
    return value


@contextlib.contextmanager
def _without_warnings() -> Generator[None]:
    """Silence transformers' advice to load packed weights in float32: these are unpacked."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(before)


@contextlib.contextmanager
def _by_any_package() -> Generator[None]:
    """Let transformers use the module ``gguf`` of llama.cpp's converter.

    It asks for a package of that name, which cannot be installed beside the converter: each
    overwrites files of the other.
    """
    module: Any = modeling_gguf_pytorch_utils
    before = module.is_gguf_available
    module.is_gguf_available = lambda: True
    try:
        yield
    finally:
        module.is_gguf_available = before


@contextlib.contextmanager
def _explain_errors(path: Path) -> Generator[None]:
    """Turn any error of transformers about a file into a ModelError."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # of transformers, tokenizers, NumPy or the system
        raise ModelError(
            f"transformers cannot read {path}: {type(error).__name__}: {error} Give the folder or "
            "the hub name of the model that the file was made from."
        ) from error
