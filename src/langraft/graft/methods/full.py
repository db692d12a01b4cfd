"""Full continued pre-training: the baseline that gains most and forgets.

Every weight of the base trains on the same tokens in the same order as the method it stands
beside. No expert, no router, no side loss. Replay is a matter of the stage's mixture.

Two cheap protections can be had with it. ``frozen_layers`` leaves a range of layers as they are;
the middle ones are what Gemma-3-4b needed frozen, or held by a penalty, to keep its comprehension
(arXiv:2606.00284). That paper's other form, L2-SP, a penalty of the distance from the base's
weights, is not offered: it needs a second copy of all weights in training, and freezing did as
well. ``merges`` scores the trained model interpolated with its base, (1 - a) base + a trained, for
nothing but the evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from langraft.core.errors import ModelError
from langraft.families.sites import decoder_layers
from langraft.graft.expansion_context import GraftContext
from langraft.graft.freeze import never_train
from langraft.graft.method import EVERYTHING, AbstractDenseMethod, StageDefaults

LayerNumber = Annotated[int, Field(ge=0, lt=10**4)]
MergeWeight = Annotated[float, Field(gt=0, lt=1)]


class Full(AbstractDenseMethod):
    """Train everything."""

    paper: ClassVar[str] = "the baseline of arXiv:2408.11396, section 4.2"
    groups: ClassVar[tuple[str, ...]] = ("token_rows",)

    name: Literal["full"] = Field(default="full", description="Full continued pre-training.")
    token_rows: Literal["frozen", "rare", "all"] = Field(
        default="all", description="Which rows of the embedding and output matrices may train."
    )
    frozen_layers: tuple[LayerNumber, LayerNumber] | None = Field(
        default=None,
        description="First and last of a range of layers that stay frozen, counted from 0.",
    )
    merges: tuple[MergeWeight, ...] = Field(
        default=(),
        max_length=20,
        description="Also score (1 - a) base + a trained at each of these weights a, as "
        "NAME_merge_a; `langraft merge` makes one to export.",
    )

    @field_validator("frozen_layers")
    @classmethod
    def _check_range(cls, given: tuple[int, int] | None) -> tuple[int, int] | None:
        if given is not None and given[0] > given[1]:
            raise ValueError("the first layer of the range comes after the last; swap the two")
        return given

    @field_validator("merges")
    @classmethod
    def _refuse_weights_twice(cls, weights: tuple[float, ...]) -> tuple[float, ...]:
        if len({f"{weight:g}" for weight in weights}) < len(weights):
            raise ValueError("a weight is named twice; results are called by their weight")
        return weights

    @property
    def stage_defaults(self) -> Mapping[str, StageDefaults]:
        """Train everything in every stage."""
        return {"*": StageDefaults(EVERYTHING, {})}

    @property
    def switch_key(self) -> str | None:
        """``switch``: an identifier chooses between base and this model; none where labelled."""
        return "switch" if self.key == self.name else None

    @property
    def merge_weights(self) -> tuple[float, ...]:
        """Weights at which the trained model is also scored merged with its base."""
        return self.merges

    def expand(self, model: Any, context: GraftContext) -> None:
        """Add nothing; keep the range of layers frozen.

        Raises:
            ModelError: when the base has fewer layers.
        """
        del context
        if self.frozen_layers is None:
            return
        layers = decoder_layers(model)[1]
        first, last = self.frozen_layers
        if last >= len(layers):
            raise ModelError(
                f"method.frozen_layers names layer {last}; the base has {len(layers)}, counted "
                f"from 0 to {len(layers) - 1}."
            )
        never_train(module for layer in layers[first : last + 1] for module in layer.modules())
