"""Granite: the twin is GraniteMoE, which has the same multipliers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langraft.families.family import AbstractFamily
from langraft.families.twins import GRANITE_MOE, Twin


class Granite(AbstractFamily):
    """Granite 3.0 to 3.3 dense models and others of ``model_type: granite``."""

    twin: ClassVar[Twin] = GRANITE_MOE

    def why_not(self, config: Mapping[str, Any]) -> str:
        """Refuse biases in the FFN, which GraniteMoE does not have."""
        reason = "the base has mlp_bias, GraniteMoE's experts have none"
        return reason if config.get("mlp_bias") else ""
