"""Full continued pre-training: the baseline that gains most and forgets.

Every weight of the base trains on the same tokens in the same order as the method it stands
beside. No expert, no router, no side loss. Replay is a matter of the stage's mixture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from langraft.core.recipe import Languages, Stage
from langraft.graft.context import GraftContext
from langraft.graft.losses import SideLoss
from langraft.graft.method import EVERYTHING, AbstractMethod, StageDefaults


class Full(AbstractMethod):
    """Train everything."""

    paper: ClassVar[str] = "the baseline of arXiv:2408.11396, section 4.2"
    groups: ClassVar[tuple[str, ...]] = ("token_rows",)

    name: Literal["full"] = Field(default="full", description="Full continued pre-training.")
    token_rows: Literal["frozen", "rare", "all"] = Field(
        default="all", description="Which rows of the embedding and output matrices may train."
    )

    @property
    def stage_defaults(self) -> Mapping[str, StageDefaults]:
        """Train everything in every stage."""
        return {"*": StageDefaults(EVERYTHING, {})}

    def default_stages(self, languages: Languages, tokens: int) -> tuple[Stage, ...]:
        """Return one stage on the new languages."""
        mixture = dict.fromkeys(languages.new, 1.0)
        return (Stage(name="extend", tokens=tokens, mixture=mixture),)

    def side_losses(self) -> Mapping[str, SideLoss]:
        """Return none."""
        return {}

    def expand(self, model: Any, context: GraftContext) -> None:
        """Add nothing."""
        del model, context
