"""Sizes of models to train from nothing, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Shape(NamedTuple):
    """A transformers model type and what its configuration says beside the vocabulary's size."""

    architecture: str
    config: Mapping[str, Any]


def _gpt2(layers: int, width: int, heads: int) -> Shape:
    # GPT-2 as it comes, but with one matrix for both ends of the vocabulary counted once: with
    # 256,000 entries that is what makes PolyLM's sizes 1.7 and 13 billion.
    sizes = {"n_layer": layers, "n_embd": width, "n_head": heads, "n_positions": 2048}
    return Shape("gpt2", sizes | {"tie_word_embeddings": True})


SHAPES: Mapping[str, Shape] = {
    # PolyLM (arXiv:2307.06018), table 4.
    "polylm-1.7b": _gpt2(24, 2048, 16),
    "polylm-13b": _gpt2(40, 5120, 40),
    # The same width and depth as Llama builds them: rotary positions, RMS norms, gated FFNs of
    # two thirds of the width, and fewer heads of keys and values.
    "llama-1.7b": Shape(
        "llama",
        {
            "num_hidden_layers": 24,
            "hidden_size": 2048,
            "intermediate_size": 5632,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
        },
    ),
    "llama-12b": Shape(
        "llama",
        {
            "num_hidden_layers": 40,
            "hidden_size": 5120,
            "intermediate_size": 13824,
            "num_attention_heads": 40,
            "num_key_value_heads": 8,
            "max_position_embeddings": 2048,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
        },
    ),
}
