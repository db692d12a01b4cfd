"""Qwen3: the twin is Qwen3Moe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langraft.families import twins
from langraft.families.family import AbstractFamily


class Qwen3(AbstractFamily):
    """Qwen3 dense models."""

    architecture = "Qwen3MoeForCausalLM"

    def why_not(self, config: Mapping[str, Any]) -> str:
        """Say nothing: every Qwen3 has a twin."""
        del config
        return ""

    def twin_config(
        self, config: Mapping[str, Any], num_experts: int, experts_per_token: int
    ) -> dict[str, Any]:
        """Return a Qwen3Moe config."""
        return twins.qwen_moe_config(config, "qwen3_moe", num_experts, experts_per_token)

    def expert_names(self, layer: int, expert: int) -> dict[str, str]:
        """Return gate_proj, up_proj and down_proj."""
        return twins.qwen_expert_names(layer, expert)

    def router_name(self, layer: int) -> str:
        """Return the router's name."""
        return twins.qwen_router_name(layer)
