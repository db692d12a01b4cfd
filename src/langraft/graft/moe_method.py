"""What methods with experts share: how many experts each layer gets, and how they get there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from langraft.core.errors import ModelError
from langraft.core.settings.settings import Share
from langraft.core.settings.stage import Stage
from langraft.families.sites import find_ffn_sites
from langraft.graft.expansion_context import GraftContext
from langraft.graft.method import EVERYTHING, AbstractMethod
from langraft.graft.moe.allocation import allocate_experts, allocate_whole_layers
from langraft.graft.moe.expanded_ffn import ExpandedFFN, original_ffn
from langraft.graft.moe.gate import FixedGate, SigmoidGate
from langraft.graft.moe.losses import SideLoss, routing_losses
from langraft.graft.wrappers.adapters import Rank, add_attention_adapters, add_output_adapter
from langraft.graft.wrappers.free_columns import ATTENTION, train_attention


def _refuse_all_zero(counts: tuple[int, ...]) -> tuple[int, ...]:
    if not any(counts):
        raise ValueError("at least one layer needs an expert")
    return counts


LayerNumber = Annotated[int, Field(ge=0, lt=10**4)]
NumExperts = (
    Annotated[int, Field(ge=1, le=1024)]
    | Annotated[tuple[Annotated[int, Field(ge=0, le=1024)], ...], AfterValidator(_refuse_all_zero)]
)


class AbstractMoEMethod(AbstractMethod):
    """A method that puts new experts beside the FFNs of all or some layers."""

    can_be_guarded: ClassVar[bool] = True
    has_experts: ClassVar[bool] = True

    new_experts: NumExperts = Field(
        default=5,
        description="N, beside the frozen original; a list gives each layer its own, 0 for none.",
    )
    experts_per_token: int = Field(
        default=2,
        le=1025,
        description="K, the experts a token meets. With 1 the router learns from language priors "
        "alone: the stages that train it need `prior` and `prior_new`.",
    )
    layers: Literal["all"] | tuple[LayerNumber, ...] = Field(
        default="all", description="Layers that get experts, counted from 0."
    )

    allocation: Literal["uniform", "probe", "probe_layers"] = Field(
        default="uniform",
        description="uniform: new_experts in each layer; probe: by layer, from how alike languages "
        "look there (LayerMoE); probe_layers: new_experts in the layers that need them most, none "
        "in the rest.",
    )
    expert_budget: Share = Field(
        default=1.0,
        description="With probe: experts over all layers, as a share of new_experts in each.",
    )
    attention_rank: Rank = Field(
        default=0,
        description="Rank of the attention adapters that tokens meet by their weight of new "
        "experts, or full; 0 for none. With adapters no standard format holds the model.",
    )
    output_rank: Rank = Field(
        default=0,
        description="Rank of such an adapter on the output matrix, for tokens that languages "
        "share.",
    )

    attention: Literal["frozen", "trained"] = Field(
        default="frozen",
        description="trained: attention learns beside the experts, for all languages alike; the "
        "export stays a standard class, and guarded sequences meet the base's own.",
    )

    def make_gate(self, width: int) -> FixedGate | SigmoidGate | None:
        """Return the gate of a layer, or None where the original is one of the experts."""
        del width
        return None

    @field_validator("experts_per_token")
    @classmethod
    def _check_top_k(cls, top_k: int, info: ValidationInfo) -> int:
        given = info.data.get("new_experts", top_k)
        counts = given if isinstance(given, tuple) else (given,)
        competing = [count + cls.original_competes for count in counts if count]
        if top_k == 1 and not cls.original_competes and max(competing, default=1) > 1:
            raise ValueError(
                "one of several experts of a branch cannot work: its renormalised weight is a "
                "constant 1, so the router gets no gradient and never learns; use 2"
            )
        fewest = min(competing, default=top_k)
        if not 1 <= top_k <= fewest:
            original = " and the frozen original" if cls.original_competes else ""
            raise ValueError(
                f"allowed: 1..{fewest} (new_experts {fewest - cls.original_competes}{original})"
            )
        return top_k

    @field_validator("attention")
    @classmethod
    def _refuse_attention_twice(cls, attention: Any, info: ValidationInfo) -> Any:
        if attention == "trained" and info.data.get("attention_rank"):
            raise ValueError("attention that trains needs no adapters: leave attention_rank out")
        return attention

    @field_validator("layers")
    @classmethod
    def _refuse_layers_twice(cls, layers: Any, info: ValidationInfo) -> Any:
        if layers != "all" and isinstance(info.data.get("new_experts"), tuple):
            raise ValueError("the list of new_experts says already which layers get none")
        return layers

    @property
    def options(self) -> tuple[str, ...]:
        """Groups that train beside the experts where the recipe has them."""
        adapters = ("adapters",) if self.attention_rank or self.output_rank else ()
        attention = (ATTENTION,) if self.trains_matrices else ()
        return (*adapters, *attention, *self.row_group)

    @property
    def top_k(self) -> int:
        """K, the experts that a token meets."""
        return self.experts_per_token

    @property
    def expert_counts(self) -> tuple[int, ...]:
        """The numbers of new experts that layers get."""
        return self.new_experts if isinstance(self.new_experts, tuple) else (self.new_experts,)

    @property
    def has_open_counts(self) -> bool:
        """Whether a probe of the base will say how many experts each layer gets."""
        return self.allocation == "probe"

    @property
    def has_open_layers(self) -> bool:
        """Whether a probe of the base will say which layers get experts."""
        return self.allocation == "probe_layers"

    @property
    def trains_matrices(self) -> bool:
        """Whether attention trains, beside the experts."""
        return self.attention == "trained"

    def has_adapter(self, *, is_output: bool) -> bool:
        """Say whether the output matrix, or attention, gets adapters: no standard class has any."""
        return bool(self.output_rank if is_output else self.attention_rank)

    @field_validator("allocation")
    @classmethod
    def _refuse_counts_twice(cls, allocation: Any, info: ValidationInfo) -> Any:
        is_given = isinstance(info.data.get("new_experts"), tuple)
        if allocation != "uniform" and (is_given or info.data.get("layers") != "all"):
            raise ValueError("new_experts and layers say already which layers get how many")
        return allocation

    def allocated(self, similarities: Sequence[float]) -> Self:
        """Return the method with a number of experts for each layer, from its probe."""
        if self.allocation == "uniform":
            return self
        assert isinstance(self.new_experts, int)
        budget = max(1, round(self.expert_budget * self.new_experts * len(similarities)))
        if self.allocation == "probe":
            fewest = self.experts_per_token - self.original_competes
            counts = allocate_experts(similarities, budget, fewest)
        else:
            counts = allocate_whole_layers(similarities, budget, self.new_experts)
        return self.model_copy(update={"new_experts": counts, "allocation": "uniform"})

    def experts_by_layer(self, num_layers: int) -> tuple[int, ...]:
        """Return the number of new experts of each layer.

        Raises:
            ModelError: when a list does not fit the model's layers.
        """
        if isinstance(self.new_experts, tuple):
            if len(self.new_experts) != num_layers:
                raise ModelError(
                    f"method.new_experts lists {len(self.new_experts)} layers; the base has "
                    f"{num_layers}. Give one number for each layer, or a single one for all."
                )
            return self.new_experts
        if self.layers == "all":
            return (self.new_experts,) * num_layers
        beyond = [layer for layer in self.layers if layer >= num_layers]
        if beyond:
            raise ModelError(
                f"method.layers names layer {beyond[0]}; the base has {num_layers}, counted from "
                f"0 to {num_layers - 1}."
            )
        return tuple(self.new_experts * (layer in self.layers) for layer in range(num_layers))

    def complete_stage(self, stage: Stage, *, has_new_tokens: bool = False) -> Stage:
        """As every method; one expert a token needs both priors, its router's only teachers.

        Raises:
            ValueError: "trains: ..." or "losses: ..." with what is allowed.
        """
        complete = super().complete_stage(stage, has_new_tokens=has_new_tokens)
        trains, losses = complete.trains or (), complete.losses or {}
        if self.trains_matrices and trains == EVERYTHING:
            raise ValueError(
                "trains: everything has attention among it; leave method.attention out"
            )
        if ATTENTION in trains and not self.trains_matrices:
            raise ValueError(
                "trains: attention is named here, but method.attention is frozen; set it to trained"
            )
        is_router_trained = trains == EVERYTHING or "routers" in trains
        missing = [name for name in ("prior", "prior_new") if not losses.get(name)]
        if self.top_k == 1 and self.original_competes and is_router_trained and missing:
            raise ValueError(
                f"losses: with experts_per_token: 1 the weight of an expert is a constant 1, so "
                f"routers learn from language priors alone, and {' and '.join(missing)} "
                "has no weight; for example losses: {prior: 0.3, prior_new: 0.1}"
            )
        return complete

    def side_losses(self) -> Mapping[str, SideLoss]:
        """Return the load balancing loss and the language priors."""
        return routing_losses(self.experts_per_token)

    def expand(self, model: Any, context: GraftContext) -> None:
        """Put an ``ExpandedFFN`` around the FFN of every chosen layer, then attention adapters."""
        sites = find_ffn_sites(model, original_ffn)
        for site, num_new in zip(sites, self.experts_by_layer(len(sites)), strict=True):
            if num_new:
                expanded = ExpandedFFN(
                    site,
                    num_new_experts=num_new,
                    does_original_compete=self.original_competes,
                    top_k=self.experts_per_token,
                    context=context,
                    gate=self.make_gate(site.model_width),
                )
                setattr(site.parent, site.attribute, expanded)
        if self.attention_rank:
            ffns = [site.attribute for site in sites]
            add_attention_adapters(model, self.attention_rank, ffns, context)
        if self.trains_matrices:
            train_attention(model, [site.attribute for site in sites], context)

    def expand_head(self, model: Any, context: GraftContext) -> None:
        """Put an adapter around the output matrix where the recipe wants one."""
        if self.output_rank:
            add_output_adapter(model, self.output_rank, context)
