"""Qwen3: the twin is Qwen3-MoE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langraft.families.family import AbstractFamily
from langraft.families.twins import QWEN3_MOE, Twin


class Qwen3(AbstractFamily):
    """Qwen3 dense models."""

    twin: ClassVar[Twin] = QWEN3_MOE

    def why_not(self, config: Mapping[str, Any]) -> str:
        """Say nothing: every Qwen3 has a twin."""
        del config
        return ""
