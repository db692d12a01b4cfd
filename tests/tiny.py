"""Tiny real models that several suites build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from langraft.families.family import FAMILIES
from langraft.graft.method import AbstractMethod
from langraft.graft.wrappers.column_choice import planned_free_columns

VOCAB_SIZE = 320
_GPT2 = {"n_embd": 16, "n_layer": 2, "n_head": 2}

# Every decoder family that the contracts run on, with what its config needs besides the common
# settings; ... takes a common one away. A family of `families/known/` is among them without a line.
DECODERS: dict[str, dict[str, Any]] = {
    "apertus": {},
    "bloom": {},
    "cohere2": {
        "layer_types": ["sliding_attention", "full_attention"],
        "logit_scale": 0.5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
        "sliding_window": 8,
    },
    "falcon": {"head_dim": ..., "ffn_hidden_size": 40},
    "gemma2": {},
    "gemma3_text": {},
    "glm4": {},
    "gpt2": _GPT2,
    "gpt_neox": {"hidden_act": "gelu"},
    "granite": {
        "attention_multiplier": 0.5,
        "embedding_multiplier": 2.0,
        "logits_scaling": 1.5,
        "residual_multiplier": 0.7,
    },
    "hunyuan_v1_dense": {},
    "nemotron": {},
    "phi3": {},
    "smollm3": {},
    "starcoder2": {},
}
for _family in FAMILIES:
    DECODERS.setdefault(_family, {})


def tiny_config(model_type: str = "llama", **changes: Any) -> Any:
    """Two layers, sixteen wide: a real architecture that trains in milliseconds."""
    settings = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 16,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "max_position_embeddings": 256,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": None,
    }
    settings |= DECODERS.get(model_type, {}) | changes
    return AutoConfig.for_model(
        model_type, **{key: value for key, value in settings.items() if value is not ...}
    )


def free_columns(model: Any, method: AbstractMethod) -> Mapping[str, Sequence[int]] | None:
    """Return some columns for a method that splits matrices, as if the base had read text."""
    choice = method.column_choice
    return planned_free_columns(model, choice.frozen_share) if choice is not None else None


def tiny_model(model_type: str = "llama", **changes: Any) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(tiny_config(model_type, **changes))
    with torch.no_grad():  # larger weights than at initialisation, so that differences show
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model.eval()
