"""Cohere 2: the twin is Cohere2-MoE, sliding layers and parallel blocks included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langraft.families.family import AbstractFamily
from langraft.families.twins import COHERE2_MOE, Twin


class Cohere2(AbstractFamily):
    """Command R7B, Command A and others of ``model_type: cohere2``."""

    twin: ClassVar[Twin] = COHERE2_MOE

    def why_not(self, config: Mapping[str, Any]) -> str:
        """Say nothing: every Cohere 2 has a twin."""
        del config
        return ""
