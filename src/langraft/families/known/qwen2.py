"""Qwen2 and Qwen2.5: the twin is Qwen2Moe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langraft.families import twins
from langraft.families.family import AbstractFamily


class Qwen2(AbstractFamily):
    """Qwen1.5, Qwen2 and Qwen2.5."""

    architecture = "Qwen2MoeForCausalLM"
    caveat = (
        "llama.cpp cannot run this folder: it refuses a Qwen2-MoE without shared expert and does "
        "not renormalise the routing weights. transformers can; vLLM builds such a model but was "
        "not tried."
    )

    def why_not(self, config: Mapping[str, Any]) -> str:
        """Say nothing: every Qwen2 has a twin."""
        del config
        return ""

    def twin_config(
        self, config: Mapping[str, Any], num_experts: int, experts_per_token: int
    ) -> dict[str, Any]:
        """Return a Qwen2Moe config without shared expert."""
        return twins.qwen_moe_config(config, "qwen2_moe", num_experts, experts_per_token) | {
            "shared_expert_intermediate_size": 0,
            "qkv_bias": True,
        }

    def expert_names(self, layer: int, expert: int) -> dict[str, str]:
        """Return gate_proj, up_proj and down_proj."""
        return twins.qwen_expert_names(layer, expert)

    def router_name(self, layer: int) -> str:
        """Return the router's name."""
        return twins.qwen_router_name(layer)

    def constant_tensors(self, layer: int) -> dict[str, tuple[int | str, ...]]:
        """Return the gate of the shared expert that is not there; loaders still want it."""
        return {f"model.layers.{layer}.mlp.shared_expert_gate.weight": (1, "D")}
