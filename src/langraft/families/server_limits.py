"""What servers' own classes leave out of a config: the same folder answers otherwise there.

Read in the sources of vLLM 0.32.0 and SGLang 0.5.23; of llama.cpp also seen in what it answers
(xllamacpp 2026.10.11549). ``langraft verify`` shows those that change the answers to its short
prompts; a window, which it never reads past, is not among them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Config = Mapping[str, Any]


@dataclass(frozen=True)
class ServerLimit:
    """A part of a config that a server's class does not obey.

    Attributes:
        servers: Which servers.
        concerns: Whether it makes a difference to a folder with this config.
        says: What they do; follows the servers' names.
        forbids_gguf: Whether llama.cpp is among them and errs on every text, or loads no such file.
    """

    servers: str
    concerns: Callable[[Config], bool]
    says: str
    forbids_gguf: bool = False


@dataclass(frozen=True, kw_only=True)
class TensorParallel:
    """Over how many devices a server splits each layer of a class.

    Heads and the width of the experts are split evenly; key-value heads too, or each is on as many
    devices.

    Attributes:
        server: Which server.
        within_experts: Whether it refuses more devices than experts.
        within_kv_heads: Whether it splits key-value heads alone, and repeats none.
        vocabulary_multiple: What it pads the vocabulary to a multiple of, then splits evenly.
    """

    server: str
    within_experts: bool = False
    within_kv_heads: bool = False
    vocabulary_multiple: int = 0  # pads it to what the devices take

    def largest(self, config: Config, num_experts: int) -> int:
        """Return the most devices, up to 64, that a base with this config is split over."""
        heads = config.get("num_attention_heads", 1)
        kv_heads = config.get("num_key_value_heads") or heads
        evenly = [heads, config.get("intermediate_size", heads)]
        if self.within_kv_heads:
            evenly.append(kv_heads)
        if multiple := self.vocabulary_multiple:
            evenly.append(-(-config.get("vocab_size", 0) // multiple) * multiple)
        return max(
            size
            for size in range(1, min(64, num_experts if self.within_experts else 64) + 1)
            if not any(number % size for number in evenly)
            and not max(kv_heads, size) % min(kv_heads, size)
        )


def tensor_parallel_notes(
    splits: Sequence[TensorParallel], config: Config, num_experts: int
) -> list[str]:
    """Return the largest tensor-parallel size of each server, one sentence where they agree."""
    servers: dict[int, list[str]] = {}
    for split in splits:
        servers.setdefault(split.largest(config, num_experts), []).append(split.server)
    return [
        f"{' and '.join(names)}: a tensor-parallel size of at most {size}."
        for size, names in servers.items()
    ]


def why_no_gguf(
    config: Config, limits: Sequence[ServerLimit] | None, *, has_dense_layers: bool = False
) -> str:
    """Return why llama.cpp would not answer as a base with this config does, or an empty string.

    Args:
        config: Of the base.
        limits: Of the class that the export is written as; None where it has no experts and is
            written as the base's own.
        has_dense_layers: Whether some layers of that class have no experts.
    """
    if has_dense_layers:
        return "llama.cpp knows no layers without experts in this class"
    if limits is None:
        is_silu_alone = config.get("model_type") in _SILU_ALONE_IN_LLAMA_CPP
        limits = (_LLAMA_CPP_SILU_ALONE,) if is_silu_alone else ()
    found = [limit for limit in limits if limit.forbids_gguf and limit.concerns(config)]
    return "; ".join(f"{limit.servers} {limit.says}" for limit in found)


def _has_other_activation(config: Config) -> bool:
    return config.get("hidden_act", "silu") not in ("silu", "swish")


def _rope_kind(config: Config) -> str:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return rope.get("rope_type") or rope.get("type") or "default"


def _has_scaled_rope(config: Config) -> bool:
    return _rope_kind(config) != "default"


def _has_wide_heads(config: Config) -> bool:
    heads, width = config.get("num_attention_heads", 1), config.get("hidden_size", 0)
    return config.get("head_dim") not in (None, width // heads)


def _has_attention_bias(config: Config) -> bool:
    return bool(config.get("attention_bias"))


def _has_window(config: Config) -> bool:
    return bool(config.get("sliding_window"))


def _has_qwen_window(config: Config) -> bool:
    if not (_has_window(config) and config.get("use_sliding_window")):
        return False
    if layer_types := config.get("layer_types"):
        return "sliding_attention" in layer_types
    return config.get("max_window_layers", 28) < config.get("num_hidden_layers", 1)


_SILU = "in experts, whatever hidden_act says"
_WINDOW = "than transformers in a sliding window, so texts longer than the window differ a little"

# Model types whose dense classes compute SiLU in llama.cpp, whatever the config says.
_SILU_ALONE_IN_LLAMA_CPP = frozenset(
    ("cohere2", "ernie4_5", "granite", "llama", "mistral", "olmo2", "qwen2", "qwen3")
)
_LLAMA_CPP_SILU_ALONE = ServerLimit(
    "llama.cpp", _has_other_activation, "computes SiLU, whatever hidden_act says", True
)
SILU_ALONE = ServerLimit(
    "vLLM, SGLang and llama.cpp", _has_other_activation, f"compute SiLU {_SILU}", True
)
SERVERS_SILU_ALONE = ServerLimit("vLLM and SGLang", _has_other_activation, f"compute SiLU {_SILU}")
VLLM_SILU_ALONE = ServerLimit("vLLM", _has_other_activation, f"computes SiLU {_SILU}")
ERNIE_SILU_ALONE = ServerLimit(
    "vLLM and llama.cpp", _has_other_activation, f"compute SiLU {_SILU}", True
)
SGLANG_REFUSES_OTHERS = ServerLimit(
    "SGLang", _has_other_activation, "refuses any other activation than SiLU"
)

SGLANG_THETA_ALONE = ServerLimit(
    "SGLang", _has_scaled_rope, "takes rope_theta alone and leaves out the scaling of the rope"
)
SGLANG_MIXTRAL_THETA_ALONE = ServerLimit(
    "SGLang",
    _has_scaled_rope,
    f"{SGLANG_THETA_ALONE.says} (its --model-impl transformers obeys it, but by the source of "
    "0.5.23 does not find a Mixtral's weights; it finds those of export.format: portable)",
)
LLAMA_CPP_ROPES = ServerLimit(
    "llama.cpp",
    lambda config: _rope_kind(config) not in ("default", "linear", "yarn", "llama3", "dynamic"),
    "scales ropes of the kinds linear, yarn and llama3 alone",
    True,
)
LLAMA_CPP_NO_LLAMA3 = ServerLimit(
    "llama.cpp",
    lambda config: _rope_kind(config) not in ("default", "linear", "yarn", "dynamic"),
    "scales ropes of the kinds linear and yarn alone in this class",
    True,
)
LLAMA_CPP_NO_DYNAMIC = ServerLimit(
    "llama.cpp",
    lambda config: _rope_kind(config) == "dynamic",
    "leaves out the scaling of a dynamic rope, so texts end at max_position_embeddings",
)

NO_HEAD_DIM = ServerLimit(
    "vLLM and SGLang", _has_wide_heads, "divide hidden_size by the heads and leave out head_dim"
)
GRANITE_NO_HEAD_DIM = ServerLimit(
    "vLLM, SGLang and llama.cpp", _has_wide_heads, NO_HEAD_DIM.says, True
)
SGLANG_NO_HEAD_DIM = ServerLimit(
    "SGLang", _has_wide_heads, "divides hidden_size by the heads and leaves out head_dim"
)
NO_ATTENTION_BIAS = ServerLimit(
    "vLLM and SGLang", _has_attention_bias, "have no biases in attention"
)
NO_OUTPUT_BIAS = ServerLimit(
    "vLLM and llama.cpp", _has_attention_bias, "have no bias in o_proj of attention", True
)

NO_WINDOW = ServerLimit(
    "SGLang and llama.cpp", _has_window, "attend past the sliding window, to the whole text"
)
QWEN_NO_WINDOW = ServerLimit(
    "SGLang",
    _has_qwen_window,
    "attends past the sliding window, and vLLM too where only some layers have one",
)
VLLM_WIDER_WINDOW = ServerLimit("vLLM", _has_window, f"reads one token more {_WINDOW}")
SGLANG_WIDER_WINDOW = ServerLimit(
    "SGLang",
    _has_window,
    f"reads one token more {_WINDOW}, or with FlashInfer past it",
)

_VLLM = TensorParallel(server="vLLM", vocabulary_multiple=64)
_VLLM_WITHIN_EXPERTS = TensorParallel(server="vLLM", vocabulary_multiple=64, within_experts=True)
_SGLANG = TensorParallel(server="SGLang")
SPLIT_WIDTH = (_VLLM, _SGLANG)
SPLIT_WITHIN_EXPERTS = (
    _VLLM_WITHIN_EXPERTS,
    TensorParallel(server="SGLang", within_experts=True),
)
ERNIE_SPLIT = (_VLLM_WITHIN_EXPERTS, _SGLANG)
FLEX_OLMO_SPLIT = (TensorParallel(server="vLLM", vocabulary_multiple=64, within_kv_heads=True),)
