"""A GGUF file: what it says of its model, and which files are refused before any weight is read."""

from __future__ import annotations

import importlib
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from langraft.core.errors import MissingExtraError, ModelError
from langraft.tokenizers.gguf_tokenizer import kind_of_tokenizer

_MAGIC = b"GGUF"
_PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_FREQUENCIES = "rope_freqs.weight"
_NO_SCALING = (None, "none")
_LLAMA3_CONTEXT_TOKENS = 8192  # what every Llama 3.1 and later was trained on first
_LLAMA3_LOW, _LLAMA3_HIGH = 1.0, 4.0
# Sizes of an architecture, by layers, whose `query_pre_attn_scalar` no key of the metadata tells.
_OWN_SCALE = {("gemma2", 46), ("gemma3", 62)}
_ADVICE = "Give the folder or the hub name of the model that the file was made from."


def import_packages() -> None:
    """Check that what reads GGUF is installed.

    Raises:
        MissingExtraError: when it is not.
    """
    for package in ("gguf", "accelerate"):  # transformers asks for the second
        try:
            importlib.import_module(package)
        except ImportError:
            raise MissingExtraError(package, "gguf", "A base in a GGUF file") from None


class GgufFile:
    """A GGUF file of a model that can be a base.

    Attributes:
        path: The file.
        fields: Its metadata.
        quantization: How its weights are rounded, as llama.cpp names it: ``Q4_K_M``, ``F16``.
        dtype: Precision that its weights are written in: its own, or bfloat16 where they are
            rounded to fewer bits.
    """

    def __init__(self, path: Path) -> None:
        """Read the metadata and the list of tensors.

        Raises:
            ModelError: when it is no GGUF file or damaged, a part of one, or of a model that is no
                dense decoder with a tokenizer.
        """
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise ModelError(f"{path} is no GGUF file: it does not begin with the word GGUF.")
        self.path = path
        try:
            from gguf import GGUFReader

            reader = GGUFReader(path)
            self.fields = {name: field.contents() for name, field in reader.fields.items()}
            self._tensors = reader.tensors
            self._check_tensors()
        except Exception as error:  # of the package and NumPy, for a file of any content
            raise ModelError(
                f"{path} is cut short or damaged ({type(error).__name__}: {error}). Download it "
                "again."
            ) from error
        self._refuse()
        kind_of_tokenizer(self.fields, path)
        elements = Counter[str]()
        for tensor in self._tensors:
            elements[tensor.tensor_type.name] += int(tensor.n_elements)
        most = elements.most_common(1)[0][0]
        self.quantization = _name_of_file_type(self.fields.get("general.file_type")) or most
        plain = {_PLAIN.get(name) for name in elements}
        halves = plain - {torch.float32}
        is_plain = None not in plain and len(halves) <= 1  # norms are in float32 beside any type
        self.dtype = next(iter(halves or {torch.float32})) if is_plain else torch.bfloat16
        self.is_rounded = not is_plain

    @property
    def head_width(self) -> int | None:
        """Width of an attention head, where the file says it."""
        name = self.fields["general.architecture"]
        return self.fields.get(f"{name}.attention.key_length")

    def num_weights(self, *, is_head_tied: bool) -> int:
        """Return how many numbers its tensors hold that are weights of the model."""
        left_out = {_FREQUENCIES, *(("output.weight",) if is_head_tied else ())}
        return sum(int(t.n_elements) for t in self._tensors if t.name not in left_out)

    def check_attention(self, config: Any) -> None:
        """Refuse what changes attention and transformers leaves out when it reads GGUF.

        Args:
            config: What transformers made of the metadata.

        Raises:
            ModelError: when there is such a thing.
        """
        name = self.fields["general.architecture"]
        window = self.fields.get(f"{name}.attention.sliding_window")
        is_short = window and window < config.max_position_embeddings
        if is_short and getattr(config, "sliding_window", None) != window:
            what = f"lets a token see the {window:,} before it only"
        elif (name, config.num_hidden_layers) in _OWN_SCALE:
            what = f"scales attention in a way of its own ({name}, 27 billion parameters)"
        else:
            return
        raise ModelError(
            f"{self.path} {what}, which transformers leaves out when it reads GGUF: the model "
            f"would be another. {_ADVICE}"
        )

    def rope_scaling(self, base_frequency: float, head_width: int) -> dict[str, Any] | None:
        """Return the scaling of rotary embeddings that transformers leaves out when it reads GGUF.

        Llama 3.1 and later have it as a tensor of factors, one for each frequency. It is Llama 3's
        rule for one number, the largest factor, so the rule is found again and compared.

        Args:
            base_frequency: ``rope_theta`` of the config.
            head_width: Entries that are rotated, twice the number of frequencies.

        Raises:
            ModelError: when the factors follow another rule.
        """
        found = next((t.data for t in self._tensors if t.name == _FREQUENCIES), None)
        if found is None:
            return None
        factors = [float(factor) for factor in found]
        scaling = {
            "rope_type": "llama3",
            "factor": max(factors),
            "low_freq_factor": _LLAMA3_LOW,
            "high_freq_factor": _LLAMA3_HIGH,
            "original_max_position_embeddings": _LLAMA3_CONTEXT_TOKENS,
        }
        expected = [
            _llama3_factor(base_frequency ** (2 * at / head_width), max(factors))
            for at in range(head_width // 2)
        ]
        if len(factors) != len(expected) or not all(
            math.isclose(f, e, rel_tol=1e-4) for f, e in zip(factors, expected, strict=True)
        ):
            raise ModelError(
                f"{self.path} scales its rotary embeddings ({_FREQUENCIES}) in a way that is not "
                f"Llama 3's, which transformers does not read out of GGUF. {_ADVICE}"
            )
        return scaling

    def _check_tensors(self) -> None:
        """Raise ValueError where the file ends before its last tensor does."""
        num_bytes = self.path.stat().st_size
        for tensor in self._tensors:
            end = int(tensor.data_offset) + int(tensor.n_bytes)
            if end > num_bytes:
                raise ValueError(f"{tensor.name} ends at byte {end:,}, the file at {num_bytes:,}")

    def _refuse(self) -> None:
        fields, name = self.fields, str(self.fields.get("general.architecture"))
        kind = fields.get("general.type", "model")
        if kind != "model" or not self._tensors:
            what = kind if self._tensors else "file without weights"
            raise ModelError(f"{self.path} is no model but a {what}. Give the file of the model.")
        if (parts := fields.get("split.count", 1)) > 1:
            raise ModelError(
                f"{self.path} is one of {parts} parts. Join them first: "
                f"llama-gguf-split --merge {self.path.name} whole.gguf"
            )
        if (experts := fields.get(f"{name}.expert_count", 0)) > 1:
            raise ModelError(
                f"{self.path} is a mixture of experts already ({name}, {experts} experts). "
                "langraft grafts dense models; give the dense base it was made from."
            )
        if _is_encoder(fields, name):
            raise ModelError(
                f"{self.path} is an encoder ({name}): every token sees the whole text. langraft "
                "grafts causal language models (llama, qwen2, qwen3, gemma2, ...)."
            )
        if name.startswith("t5"):
            raise ModelError(
                f"{self.path} is an encoder-decoder ({name}). langraft grafts decoders."
            )
        scaling = fields.get(f"{name}.rope.scaling.type")
        has_factors = any(t.name.startswith("rope_factors") for t in self._tensors)
        if scaling not in _NO_SCALING or has_factors:
            raise ModelError(
                f"{self.path} scales its rotary embeddings ({scaling or 'rope_factors'}), which "
                f"transformers leaves out when it reads GGUF: the model would be another. {_ADVICE}"
            )


def _is_encoder(fields: Mapping[str, Any], architecture: str) -> bool:
    is_causal = fields.get(f"{architecture}.attention.causal", True)
    return not is_causal or architecture.endswith("bert")


def _name_of_file_type(number: int | None) -> str | None:
    """Return llama.cpp's name of a file's type, ``Q4_K_M`` for ``MOSTLY_Q4_K_M``."""
    from gguf import LlamaFileType

    try:
        name = LlamaFileType(number).name
    except ValueError:  # none, or newer than the package
        return None
    return None if name == "GUESSED" else name.removeprefix("MOSTLY_").removeprefix("ALL_")


def _llama3_factor(wave_radians: float, factor: float) -> float:
    """Return what Llama 3 divides a frequency by: the long waves only, with a ramp between.

    Args:
        wave_radians: Tokens a radian takes, the inverse of the frequency.
        factor: Of the longest waves.
    """
    wave_tokens = 2 * math.pi * wave_radians
    if wave_tokens < _LLAMA3_CONTEXT_TOKENS / _LLAMA3_HIGH:
        return 1.0
    if wave_tokens > _LLAMA3_CONTEXT_TOKENS / _LLAMA3_LOW:
        return factor
    share = _LLAMA3_CONTEXT_TOKENS / wave_tokens - _LLAMA3_LOW
    share /= _LLAMA3_HIGH - _LLAMA3_LOW
    return 1 / ((1 - share) / factor + share)
