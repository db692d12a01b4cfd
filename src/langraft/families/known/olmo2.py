"""OLMo 2: the twin is FlexOlmo, which has the same norms after attention and FFN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langraft.families.family import AbstractFamily
from langraft.families.twins import FLEX_OLMO, Twin


class Olmo2(AbstractFamily):
    """OLMo 2."""

    twin: ClassVar[Twin] = FLEX_OLMO

    def why_not(self, config: Mapping[str, Any]) -> str:
        """Say nothing: every OLMo 2 has a twin."""
        del config
        return ""
