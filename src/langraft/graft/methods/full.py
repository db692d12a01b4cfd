"""Full continued pre-training: the baseline that gains most and forgets.

Every weight of the base trains on the same tokens in the same order as the method it stands
beside. No expert, no router, no side loss. Replay is a matter of the stage's mixture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from langraft.graft.context import GraftContext
from langraft.graft.method import EVERYTHING, AbstractDenseMethod, StageDefaults


class Full(AbstractDenseMethod):
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

    def expand(self, model: Any, context: GraftContext) -> None:
        """Add nothing."""
        del model, context
