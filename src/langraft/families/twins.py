"""The two layouts in which released MoE checkpoints name their experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def mixtral_config(
    config: Mapping[str, Any], num_experts: int, experts_per_token: int
) -> dict[str, Any]:
    """Return a Mixtral config that keeps the base's attention, rope settings included."""
    dropped = ("attention_bias", "mlp_bias", "pretraining_tp")
    return {key: value for key, value in config.items() if key not in dropped} | {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "num_local_experts": num_experts,
        "num_experts_per_tok": experts_per_token,
        "output_router_logits": False,
    }


def mixtral_expert_names(layer: int, expert: int) -> dict[str, str]:
    """Return Mixtral's released names: w1 is the gate, w3 up, w2 down."""
    prefix = f"model.layers.{layer}.block_sparse_moe.experts.{expert}"
    return {part: f"{prefix}.{name}.weight" for part, name in _MIXTRAL_PARTS.items()}


def mixtral_router_name(layer: int) -> str:
    """Return the name of a layer's router."""
    return f"model.layers.{layer}.block_sparse_moe.gate.weight"


def qwen_moe_config(
    config: Mapping[str, Any], model_type: str, num_experts: int, experts_per_token: int
) -> dict[str, Any]:
    """Return a Qwen MoE config in which every layer is sparse and weights are renormalised."""
    return dict(config) | {
        "architectures": ["Qwen2MoeForCausalLM" if model_type == "qwen2_moe" else _QWEN3],
        "model_type": model_type,
        "num_experts": num_experts,
        "num_experts_per_tok": experts_per_token,
        "moe_intermediate_size": config["intermediate_size"],
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "output_router_logits": False,
    }


def qwen_expert_names(layer: int, expert: int) -> dict[str, str]:
    """Return Qwen's released names."""
    prefix = f"model.layers.{layer}.mlp.experts.{expert}"
    return {part: f"{prefix}.{part}_proj.weight" for part in ("gate", "up", "down")}


def qwen_router_name(layer: int) -> str:
    """Return the name of a layer's router."""
    return f"model.layers.{layer}.mlp.gate.weight"


_MIXTRAL_PARTS = {"gate": "w1", "up": "w3", "down": "w2"}
_QWEN3 = "Qwen3MoeForCausalLM"
