"""A base model that a run trains from nothing, and published sizes of such models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from langraft.core.settings.settings import Settings
from langraft.core.settings.stage import Stage
from langraft.core.settings.tokenizer import TokenizerTraining
from langraft.core.streams import languages_of

_LARGEST_NUMBER = 2**31


class Shape(NamedTuple):
    """A transformers model type and its configuration, except for the vocabulary's size."""

    architecture: str
    config: Mapping[str, Any]


def _gpt2(layers: int, width: int, heads: int) -> Shape:
    # Plain GPT-2 with tied embeddings: with 256,000 entries PolyLM's sizes of 1.7 and 13 billion
    # come out only when the shared matrix is counted once.
    sizes = {"n_layer": layers, "n_embd": width, "n_head": heads, "n_positions": 2048}
    return Shape("gpt2", sizes | {"tie_word_embeddings": True})


def _llama(layers: int, width: int, ffn_width: int, heads: int) -> Shape:
    sizes = {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": ffn_width,
        "num_attention_heads": heads,
        "num_key_value_heads": 8,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
    }
    return Shape("llama", sizes | {"tie_word_embeddings": True})


SHAPES: Mapping[str, Shape] = {
    # PolyLM (arXiv:2307.06018), table 4.
    "polylm-1.7b": _gpt2(24, 2048, 16),
    "polylm-13b": _gpt2(40, 5120, 40),
    # The same widths and depths in Llama's architecture: rotary positions, RMS norms, gated FFNs
    # of two thirds of the width, and fewer heads of keys and values.
    "llama-1.7b": _llama(24, 2048, 5632, 16),
    "llama-12b": _llama(40, 5120, 13824, 40),
}


def _refuse_what_json_lacks(value: Any) -> None:
    """Refuse values that config.json cannot hold, and numbers beyond any model's.

    Raises:
        ValueError: for dates, sets and the like, infinite numbers and those beyond 2^31.
    """
    if isinstance(value, dict | list):
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            raise ValueError("a key is text: put it in quotes")
        for inner in value.values() if isinstance(value, dict) else value:
            _refuse_what_json_lacks(inner)
    elif isinstance(value, int | float):
        if not abs(value) < _LARGEST_NUMBER:
            raise ValueError(f"{value!r:.50} is beyond what a model's configuration may hold, 2^31")
    elif value is not None and not isinstance(value, str):
        raise ValueError(f"{value!r:.50} is no text, number, list or map")


class ScratchBase(Settings):
    """A base trained from nothing: for quickstarts, tests and experiments without a hub."""

    shape: Literal[tuple(SHAPES)] | None = Field(  # pyright: ignore[reportInvalidTypeForm]
        default=None, description="A published size, instead of architecture and config."
    )
    architecture: str = Field(default="llama", description="A transformers model type.")
    config: dict[str, Any] = Field(
        description="Arguments of that model type's configuration; beside a shape, what differs."
    )
    tokenizer: TokenizerTraining = TokenizerTraining()
    stage: Stage = Field(description="How the base is trained; everything trains.")

    @model_validator(mode="before")
    @classmethod
    def _fill_in_shape(cls, data: Any) -> Any:
        shape = SHAPES.get(str(data.get("shape"))) if isinstance(data, dict) else None
        config = data.get("config") or {} if shape else None
        if shape is None or not isinstance(config, dict):
            return data
        given = data.get("architecture", shape.architecture)
        if given != shape.architecture:
            raise ValueError(
                f"architecture: given {given!r}, but the shape {data['shape']!r} is of type "
                f"{shape.architecture!r}; leave one of them out"
            )
        return {"architecture": shape.architecture} | data | {"config": {**shape.config, **config}}

    @field_validator("config")
    @classmethod
    def _check_config(cls, config: dict[str, Any]) -> dict[str, Any]:
        _refuse_what_json_lacks(config)
        return config

    @property
    def tokenizer_mixture(self) -> dict[str, float]:
        """Relative share of each language in the text that the tokenizer is trained on."""
        if self.tokenizer.mixture:
            return self.tokenizer.mixture
        shares: dict[str, float] = {}
        for mixture in self.stage.mixtures.values():
            total = sum(mixture.values()) if self.stage.points else 1
            for stream, weight in mixture.items():
                for code in languages_of(stream):
                    shares[code] = shares.get(code, 0.0) + weight / total
        return shares
