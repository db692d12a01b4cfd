"""What servers' own classes leave out of a config: the same folder answers otherwise there.

Read in the sources of vLLM 0.32.0 and SGLang 0.5.23. ``langraft verify`` shows those that change
the answers to its short prompts; a window, which it never reads past, is not among them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    """

    servers: str
    concerns: Callable[[Config], bool]
    says: str


def _has_scaled_rope(config: Config) -> bool:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return (rope.get("rope_type") or rope.get("type") or "default") != "default"


def _has_wide_heads(config: Config) -> bool:
    heads, width = config.get("num_attention_heads", 1), config.get("hidden_size", 0)
    return config.get("head_dim") not in (None, width // heads)


def _has_window(config: Config) -> bool:
    return bool(config.get("sliding_window"))


SILU_ALONE = ServerLimit(
    "vLLM and SGLang",
    lambda config: config.get("hidden_act", "silu") not in ("silu", "swish"),
    "compute SiLU in experts, whatever hidden_act says",
)
SGLANG_THETA_ALONE = ServerLimit(
    "SGLang", _has_scaled_rope, "takes rope_theta alone and leaves out the scaling of the rope"
)
NO_HEAD_DIM = ServerLimit(
    "vLLM and SGLang", _has_wide_heads, "divide hidden_size by the heads and leave out head_dim"
)
SGLANG_NO_HEAD_DIM = ServerLimit(
    "SGLang", _has_wide_heads, "divides hidden_size by the heads and leaves out head_dim"
)
SGLANG_NO_WINDOW = ServerLimit("SGLang", _has_window, "attends past the sliding window")
VLLM_WIDER_WINDOW = ServerLimit(
    "vLLM",
    _has_window,
    "reads one token more than transformers in a sliding window, so texts longer than the window "
    "differ a little",
)


def largest_tensor_parallel(config: Config, num_experts: int) -> int:
    """Return the most devices that vLLM and SGLang split each layer over.

    They refuse more devices than experts; heads and the FFN's width are split evenly.
    """
    heads = config.get("num_attention_heads", 1)
    kv_heads = config.get("num_key_value_heads") or heads
    width = config.get("intermediate_size", heads)
    sizes = [2**power for power in range(7) if 2**power <= num_experts]
    return max(
        size
        for size in sizes
        if not (heads % size or width % size or max(kv_heads, size) % min(kv_heads, size))
    )
