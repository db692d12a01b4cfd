"""Mistral: the twin is Mixtral, sliding window included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langraft.families.family import AbstractFamily
from langraft.families.twins import MIXTRAL, Twin


class Mistral(AbstractFamily):
    """Mistral 7B and others of ``model_type: mistral``."""

    twin: ClassVar[Twin] = MIXTRAL

    def why_not(self, config: Mapping[str, Any]) -> str:
        """Say nothing: every Mistral has a twin."""
        del config
        return ""
