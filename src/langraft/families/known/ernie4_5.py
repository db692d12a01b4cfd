"""ERNIE 4.5: the twin is ERNIE-4.5-MoE without shared experts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langraft.families.family import AbstractFamily
from langraft.families.twins import ERNIE4_5_MOE, Twin


class Ernie45(AbstractFamily):
    """ERNIE 4.5 0.3B and other dense models of ``model_type: ernie4_5``."""

    twin: ClassVar[Twin] = ERNIE4_5_MOE

    def why_not(self, config: Mapping[str, Any]) -> str:
        """Refuse biases, which the experts of ERNIE-4.5-MoE do not have."""
        reason = "the base has use_bias, ERNIE-4.5-MoE's experts have none"
        return reason if config.get("use_bias") else ""
