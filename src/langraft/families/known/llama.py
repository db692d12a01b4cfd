"""Llama: the twin is Mixtral, which has the same attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langraft.families.family import AbstractFamily
from langraft.families.twins import MIXTRAL, Twin


class Llama(AbstractFamily):
    """Llama 1 to 3, SmolLM and others of ``model_type: llama``."""

    twin: ClassVar[Twin] = MIXTRAL

    def why_not(self, config: Mapping[str, Any]) -> str:
        """Refuse biases, which Mixtral does not have."""
        biased = [key for key in ("attention_bias", "mlp_bias") if config.get(key)]
        return f"the base has {' and '.join(biased)}, Mixtral has no biases" if biased else ""
