"""The JSON files of a base, which others wrote: what langraft reads in each, and its type.

Keys that are not named here belong to transformers and tokenizers, which check them themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from langraft.core.errors import ModelError
from langraft.core.files import Schema, read_json, read_json_object

WEIGHT_INDEX = "model.safetensors.index.json"
_ADVICE = "Download the model again, or save it again with save_pretrained."

# Limits that no known model comes near, so that a wrong number is refused before it fills memory.
_Layers = Annotated[int, Field(ge=1, le=1000)] | None
_OneWidth = Annotated[int, Field(ge=1, le=10**6)]
_Width = _OneWidth | list[_OneWidth] | None  # a list where layers differ
_Rows = Annotated[int, Field(ge=1, le=10**8)] | None
_Count = Annotated[int, Field(ge=0, le=10**6)] | None
_TokenId = Annotated[int, Field(ge=-1, lt=10**8)]  # -1 where there is no such token
_Positive = Annotated[float, Field(gt=0)] | None
_AtLeastOne = Annotated[int, Field(ge=1)] | None
_FileName = Annotated[str, Field(pattern=r"^[^/\\\x00]+\.safetensors$", max_length=255)]
_TokenIds = _TokenId | list[_TokenId] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """The keys of ``config.json`` that say how large a model is; families name them differently."""

    num_hidden_layers: _Layers = None
    n_layer: _Layers = None
    n_layers: _Layers = None
    num_layers: _Layers = None
    hidden_size: _Width = None
    n_embd: _Width = None
    d_model: _Width = None
    intermediate_size: _Width = None
    n_inner: _Width = None
    ffn_dim: _Width = None
    num_attention_heads: _Width = None
    n_head: _Width = None
    num_key_value_heads: _Width = None
    head_dim: _Width = None
    max_position_embeddings: _Rows = None
    n_positions: _Rows = None
    vocab_size: _Rows = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelConfig(_Shape):
    """``config.json``."""

    architectures: list[str] | None = None
    model_type: str | None = None
    is_encoder_decoder: bool | None = None
    tie_word_embeddings: bool | None = None
    eos_token_id: _TokenIds = None
    num_local_experts: _Count = None
    num_experts: _Count = None
    n_routed_experts: _Count = None
    moe_num_experts: _Count = None
    text_config: _Shape | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _SpecialToken:
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """``tokenizer_config.json``."""

    eos_token: str | _SpecialToken | None = None

    @property
    def end_of_text(self) -> str | None:
        """The end-of-text token."""
        token = self.eos_token
        return token.content if isinstance(token, _SpecialToken) else token


@dataclass(frozen=True, slots=True, kw_only=True)
class _AddedToken:
    id: _TokenId
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerFile:
    """``tokenizer.json``."""

    model: dict[str, Any]
    added_tokens: list[_AddedToken]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationConfig:
    """``generation_config.json``, which transformers checks only while it generates."""

    eos_token_id: _TokenIds = None
    bos_token_id: _TokenId | None = None
    pad_token_id: _TokenId | None = None
    repetition_penalty: _Positive = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    num_beams: _AtLeastOne = None
    num_beam_groups: _AtLeastOne = None
    num_return_sequences: _AtLeastOne = None
    no_repeat_ngram_size: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    length_penalty: float | None = None
    guidance_scale: float | None = None
    suppress_tokens: list[int] | None = None
    begin_suppress_tokens: list[int] | None = None
    bad_words_ids: list[list[int]] | None = None
    stop_strings: str | list[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightIndex:
    """``model.safetensors.index.json``: the file that holds each tensor."""

    weight_map: dict[str, _FileName]
    metadata: dict[str, Any]


def read_base_json(path: Path, schema: type[Schema]) -> Schema:
    """Read a JSON file of a base.

    Raises:
        ModelError: when it is damaged or does not fit the schema.
    """
    return read_json(path, schema, error=ModelError, advice=_ADVICE)


def read_base_object(path: Path, schema: type[object]) -> dict[str, Any]:
    """Read a JSON file of a base, and return all that it holds.

    Raises:
        ModelError: when it is damaged or does not fit the schema.
    """
    return read_json_object(path, schema, error=ModelError, advice=_ADVICE)


def read_model_config(folder: Path) -> dict[str, Any]:
    """Return all that ``config.json`` of a model's folder holds.

    Raises:
        ModelError: when it is missing, damaged, or a key that langraft reads is of a wrong type.
    """
    return read_base_object(folder / "config.json", _ModelConfig)


def stored_dtype(config: Mapping[str, Any]) -> str:
    """Return the name of the precision that a model's config says its weights are stored in."""
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def read_end_ids(folder: Path) -> int | list[int] | None:
    """Return ``eos_token_id`` of a folder's ``generation_config.json``, if there is one.

    Raises:
        ModelError: when the file is damaged.
    """
    path = folder / "generation_config.json"
    return read_base_json(path, GenerationConfig).eos_token_id if path.is_file() else None


def check_tokenizer_files(folder: Path) -> None:
    """Check the JSON files of a folder's tokenizer, those that are there.

    Raises:
        ModelError: when one is damaged.
    """
    schemas = {"tokenizer.json": TokenizerFile, "tokenizer_config.json": TokenizerConfig}
    for name, schema in schemas.items():
        if (folder / name).is_file():
            read_base_json(folder / name, schema)
