"""The contract of a model family: which standard MoE class holds its grafted form exactly."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from langraft.core.registry import Registry
from langraft.families.twins import Twin


class AbstractFamily(ABC):
    """What must be known of an architecture beyond its structure.

    The file's name is the ``model_type`` of transformers. A family without such a file can be
    grafted (its FFNs are found by structure) but has no standard format to be exported to.
    """

    twin: ClassVar[Twin]

    @abstractmethod
    def why_not(self, config: Mapping[str, Any]) -> str:
        """Say why this base has no exact twin, or return an empty string."""


FAMILIES = Registry("langraft.families.known", AbstractFamily, "family")
