"""One stretch of training: on which mixture of text, for how long, what trains."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from langraft.core.settings import Count, Settings, Share
from langraft.core.streams import StreamName

StageName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Weight = Annotated[float, Field(gt=0)]


class Stage(Settings):
    """One stretch of training: on what text, which weights, which side losses."""

    name: StageName = Field(description="Names the stage's folder.")
    tokens: Count = Field(gt=0, description="Tokens to train on, rounded up to whole steps.")
    mixture: dict[StreamName, Weight] = Field(
        min_length=1,
        description="Relative share of tokens of each language (el), source (el/wiki, */wiki) or "
        "pair (en+el).",
    )
    trains: Literal["everything"] | tuple[str, ...] | None = Field(
        default=None,
        description="Parameter groups that train; left out: what the method says for this name.",
    )
    losses: dict[str, Annotated[float, Field(ge=0)]] | None = Field(
        default=None,
        description="Side losses and weights; left out: what the method says for this name.",
    )
    lr: float = Field(default=5e-5, gt=0, description="Peak learning rate.")
    schedule: Literal["cosine", "wsd", "constant"] = Field(
        default="cosine", description="Shape of the learning rate after the warm-up."
    )
    warmup: Share = Field(default=0.03, description="Share of steps that raise the rate from 0.")
    decay: Share = Field(
        default=0.2, description="Share of steps, at the end, that lower the rate (wsd only)."
    )
    final_lr: Share = Field(default=0.1, description="Last learning rate as a share of the peak.")
