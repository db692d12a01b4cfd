"""Qwen2: the twin is Qwen2-MoE without shared expert."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langraft.families.family import AbstractFamily
from langraft.families.twins import QWEN2_MOE, Twin


class Qwen2(AbstractFamily):
    """Qwen1.5, Qwen2 and Qwen2.5."""

    twin: ClassVar[Twin] = QWEN2_MOE

    def why_not(self, config: Mapping[str, Any]) -> str:
        """Say nothing: every Qwen2 has a twin."""
        del config
        return ""
