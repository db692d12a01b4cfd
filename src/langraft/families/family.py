"""The contract of a model family: which standard MoE class holds its grafted form exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from langraft.core.registry import Registry


class AbstractFamily(ABC):
    """What must be known of an architecture beyond its structure.

    The file's name is the ``model_type`` of transformers. A family without such a file can be
    grafted (its FFNs are found by structure) but has no standard format to be exported to.
    """

    architecture: ClassVar[str]  # class name of the twin, for example MixtralForCausalLM
    caveat: ClassVar[str] = ""  # what a user of the exported folder must know

    @abstractmethod
    def why_not(self, config: Mapping[str, Any]) -> str:
        """Say why this base has no exact twin, or return an empty string."""

    @abstractmethod
    def twin_config(
        self, config: Mapping[str, Any], num_experts: int, experts_per_token: int
    ) -> dict[str, Any]:
        """Return the twin's ``config.json`` for a base's."""

    @abstractmethod
    def expert_names(self, layer: int, expert: int) -> dict[str, str]:
        """Return the released tensor names of one expert: ``gate``, ``up`` and ``down``."""

    @abstractmethod
    def router_name(self, layer: int) -> str:
        """Return the released name of a layer's router weight, (E, D)."""

    def constant_tensors(self, layer: int) -> dict[str, tuple[int | str, ...]]:
        """Return names and shapes of zero tensors that the twin wants besides; D means width."""
        del layer
        return {}


FAMILIES = Registry("langraft.families.known", AbstractFamily, "family")
