"""Tiny real models that several suites build."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

VOCAB_SIZE = 320


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
    return AutoConfig.for_model(model_type, **(settings | changes))


def tiny_model(model_type: str = "llama", **changes: Any) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(tiny_config(model_type, **changes))
    with torch.no_grad():  # larger weights than at initialisation, so that differences show
        for parameter in model.parameters():
            parameter.mul_(3.0)
    return model.eval()
