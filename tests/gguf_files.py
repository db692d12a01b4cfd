"""Real GGUF files of tiny models, written as llama.cpp's converter writes them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type

from tiny import tiny_model

# Quantized rows are cut into blocks of 32.
WIDE = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 32}
_ARCHITECTURES = {"gemma3_text": "gemma3"}
_CONTROL = 3


def wide_model(model_type: str = "llama", **changes: Any) -> Any:
    return tiny_model(model_type, **(WIDE | {"eos_token_id": 0} | changes))


def write_gguf(
    path: Path,
    model: Any,
    tokenizer: Path | None,
    *,
    weights: Type = Type.F32,
    file_type: gguf.LlamaFileType | None = None,
    pre: str | None = "smollm",
    fields: Mapping[str, Any] | None = None,
    tensors: Mapping[str, torch.Tensor] | None = None,
    without: Collection[str] = (),
) -> Path:
    """Write a model; ``fields`` are added to its metadata, ``without`` left out of it."""
    config = model.config
    name = _ARCHITECTURES.get(config.model_type, config.model_type)
    writer = gguf.GGUFWriter(path, name)
    found = _fields(config, name) | ({} if tokenizer is None else tokenizer_fields(tokenizer, pre))
    if file_type is not None:
        found["general.file_type"] = int(file_type)
    for key, value in (found | dict(fields or {})).items():
        if key not in without:
            _add(writer, key, value)
    for key, values in (_tensors(model, name) | dict(tensors or {})).items():
        array = values.detach().float().numpy()
        is_norm = array.ndim == 1
        kind = Type.F32 if is_norm else weights
        data = gguf.quants.quantize(array, kind)
        writer.add_tensor(key, np.ascontiguousarray(data), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tokenizer_fields(folder: Path, pre: str | None = "smollm") -> dict[str, Any]:
    """Return the metadata of a byte-level tokenizer."""
    settings = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    special = {token["id"] for token in settings["added_tokens"]}
    vocab = settings["model"]["vocab"]
    fields = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": sorted(vocab, key=lambda token: vocab[token]),
        "tokenizer.ggml.token_type": [
            _CONTROL if number in special else 1 for number in range(len(vocab))
        ],
        "tokenizer.ggml.merges": [" ".join(merge) for merge in settings["model"]["merges"]],
        "tokenizer.ggml.eos_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _fields(config: Any, name: str) -> dict[str, Any]:
    fields = {
        "context_length": config.max_position_embeddings,
        "block_count": config.num_hidden_layers,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "rope.dimension_count": config.head_dim,
        "rope.freq_base": float(config.rope_parameters["rope_theta"])
        if "rope_theta" in config.rope_parameters
        else 10_000.0,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "vocab_size": config.vocab_size,
    }
    return {f"{name}.{key}": value for key, value in fields.items()}


def _tensors(model: Any, name: str) -> dict[str, torch.Tensor]:
    config = model.config
    architecture = next(a for a, n in gguf.MODEL_ARCH_NAMES.items() if n == name)
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    found: dict[str, torch.Tensor] = {}
    for key, parameter in model.named_parameters():
        module, _, suffix = key.rpartition(".")
        values = parameter
        if name == "llama" and module.endswith(("q_proj", "k_proj")):
            is_query = module.endswith("q_proj")
            heads = config.num_attention_heads if is_query else config.num_key_value_heads
            values = _interleaved(values, heads)
        if name.startswith("gemma") and module.endswith("norm"):
            values = values + 1
        found[f"{names.get_name(module)}.{suffix}"] = values
    return found


def _interleaved(values: torch.Tensor, heads: int) -> torch.Tensor:
    """Order the rows of a query or key matrix as GGUF's rotation of neighbours wants them."""
    return (
        values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
        .swapaxes(1, 2)
        .reshape(values.shape)
    )


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int():
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case _:
            writer.add_array(key, value)


def sentencepiece_fields(folder: Path, **changes: Any) -> dict[str, Any]:
    """Return the metadata of a tokenizer with byte fallback: scores in place of merges."""
    model = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]
    vocab = model["vocab"]
    tokens = sorted(vocab, key=lambda token: vocab[token])
    ranks = {"".join(merge): -float(place) for place, merge in enumerate(model["merges"], start=1)}
    kinds = {"</s>": _CONTROL} | {token: 6 for token in tokens if token.startswith("<0x")}
    fields = {
        "model": "llama",
        "pre": "default",
        "tokens": tokens,
        "scores": [ranks.get(token, -1e4) for token in tokens],
        "token_type": [kinds.get(token, 1) for token in tokens],
        "eos_token_id": 0,
        "add_bos_token": False,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in (fields | changes).items()}
