"""Llama: the twin is Mixtral, which has the same attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langraft.families import twins
from langraft.families.family import AbstractFamily


class Llama(AbstractFamily):
    """Llama 1 to 3, SmolLM and others of ``model_type: llama``."""

    architecture = "MixtralForCausalLM"

    def why_not(self, config: Mapping[str, Any]) -> str:
        """Refuse biases, which Mixtral does not have."""
        biased = [key for key in ("attention_bias", "mlp_bias") if config.get(key)]
        return f"the base has {' and '.join(biased)}, Mixtral has no biases" if biased else ""

    def twin_config(
        self, config: Mapping[str, Any], num_experts: int, experts_per_token: int
    ) -> dict[str, Any]:
        """Return a Mixtral config."""
        return twins.mixtral_config(config, num_experts, experts_per_token)

    def expert_names(self, layer: int, expert: int) -> dict[str, str]:
        """Return w1, w3 and w2."""
        return twins.mixtral_expert_names(layer, expert)

    def router_name(self, layer: int) -> str:
        """Return the router's name."""
        return twins.mixtral_router_name(layer)
