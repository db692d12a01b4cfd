"""A mixture of experts of which everything trains: the upcycling baseline without protection.

"MoE" of MoE-LPR's table 2 (arXiv:2408.11396): the same upcycled model, trained whole on new
languages. It shows what freezing and the language prior bring: its attention, embeddings, router
and every expert, the first included, follow the new languages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from langraft.core.settings.languages import Languages
from langraft.core.settings.stage import Stage
from langraft.graft.method import EVERYTHING, StageDefaults, one_stage
from langraft.graft.moe_method import AbstractMoEMethod


class MoEFull(AbstractMoEMethod):
    """Upcycle every FFN and train all of it."""

    paper: ClassVar[str] = "a baseline of arXiv:2408.11396, section 4.2"
    groups: ClassVar[tuple[str, ...]] = ("experts", "routers", "adapters", "token_rows")
    original_competes: ClassVar[bool] = True

    name: Literal["moe_full"] = Field(
        default="moe_full", description="Upcycled experts, everything trained."
    )
    token_rows: Literal["frozen", "rare", "all"] = Field(
        default="all", description="Which rows of the embedding and output matrices may train."
    )

    @property
    def stage_defaults(self) -> Mapping[str, StageDefaults]:
        """Train everything in every stage, with a load balancing loss."""
        return {"*": StageDefaults(EVERYTHING, {"balance": 0.01})}

    def default_stages(self, languages: Languages, tokens: int) -> tuple[Stage, ...]:
        """Return one stage on the new languages."""
        return one_stage(languages, tokens)
