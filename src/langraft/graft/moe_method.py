"""What methods with experts share: how many stand where, how many a token meets, side losses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from torch import Tensor

from langraft.core.errors import ModelError
from langraft.core.settings import Share
from langraft.families.sites import find_ffn_sites
from langraft.graft.adapters import Rank, add_attention_adapters
from langraft.graft.allocation import allocate_experts, allocate_whole_layers
from langraft.graft.context import GraftContext
from langraft.graft.expanded_ffn import ExpandedFFN, original_ffn
from langraft.graft.gate import FixedGate, SigmoidGate
from langraft.graft.losses import SideLoss, TokenRoles, balance_loss, language_prior_loss
from langraft.graft.method import AbstractMethod
from langraft.graft.router import Routing


def _some(counts: tuple[int, ...]) -> tuple[int, ...]:
    if not any(counts):
        raise ValueError("at least one layer needs an expert")
    return counts


LayerNumber = Annotated[int, Field(ge=0)]
NumExperts = (
    Annotated[int, Field(ge=1)]
    | Annotated[tuple[Annotated[int, Field(ge=0)], ...], AfterValidator(_some)]
)


class AbstractMoEMethod(AbstractMethod):
    """A method that puts new experts beside the FFNs of all or some layers."""

    can_be_guarded: ClassVar[bool] = True
    original_competes: ClassVar[bool]  # whether the original is expert 0 of the router's choice

    new_experts: NumExperts = Field(
        default=5,
        description="N, beside the frozen original; a list gives each layer its own, 0 for none.",
    )
    experts_per_token: int = Field(default=2, description="K, the experts a token meets.")
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

    @abstractmethod
    def make_gate(self, width: int) -> FixedGate | SigmoidGate | None:
        """Return the gate of a layer, or None where the original is one of the experts."""

    @field_validator("experts_per_token")
    @classmethod
    def _top_k_fits(cls, top_k: int, info: ValidationInfo) -> int:
        given = info.data.get("new_experts", top_k)
        counts = given if isinstance(given, tuple) else (given,)
        competing = [count + cls.original_competes for count in counts if count]
        if top_k == 1 and max(competing, default=1) > 1:
            raise ValueError(
                "one expert a token cannot work: its renormalised weight is a constant 1, so the "
                "router gets no gradient and never learns; use 2"
            )
        fewest = min(competing, default=top_k)
        if not min(2, fewest) <= top_k <= fewest:
            original = " and the frozen original" if cls.original_competes else ""
            raise ValueError(
                f"allowed: {min(2, fewest)}..{fewest} (new_experts "
                f"{fewest - cls.original_competes}{original})"
            )
        return top_k

    @field_validator("layers")
    @classmethod
    def _said_once(cls, layers: Any, info: ValidationInfo) -> Any:
        if layers != "all" and isinstance(info.data.get("new_experts"), tuple):
            raise ValueError("the list of new_experts says already which layers get none")
        return layers

    @property
    def options(self) -> tuple[str, ...]:
        """Groups that train beside the experts where the recipe has them."""
        return (*(("adapters",) if self.has_adapters else ()), *self.row_group)

    @property
    def has_adapters(self) -> bool:
        """Whether shared weights get adapters, which no standard format holds."""
        return bool(self.attention_rank or self.output_rank)

    @field_validator("allocation")
    @classmethod
    def _counts_are_open(cls, allocation: Any, info: ValidationInfo) -> Any:
        is_given = isinstance(info.data.get("new_experts"), tuple)
        if allocation != "uniform" and (is_given or info.data.get("layers") != "all"):
            raise ValueError("new_experts and layers say already which layers get how many")
        return allocation

    def allocated(self, similarities: Sequence[float]) -> Self:
        """Return the method with a number of experts for each layer, from its probe."""
        assert isinstance(self.new_experts, int)
        budget = max(1, round(self.expert_budget * self.new_experts * len(similarities)))
        if self.allocation == "probe":
            fewest = self.experts_per_token - self.original_competes
            counts = tuple(max(fewest, n) for n in allocate_experts(similarities, budget))
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

    def side_losses(self) -> Mapping[str, SideLoss]:
        """Return the load balancing loss and the language priors."""
        return {
            "balance": self._balance,
            "prior": lambda routing, roles: language_prior_loss(
                routing.log_original_T(), roles.is_original_T
            ),
            "prior_new": lambda routing, roles: language_prior_loss(
                routing.log_new_T(), roles.is_new_T
            ),
        }

    def _balance(self, routing: Routing, roles: TokenRoles) -> Tensor:
        """Balance all experts; in a second expansion the newest, as the rest are as they are."""
        if routing.num_kept <= 1:
            return balance_loss(routing.logits_TE, roles.is_token_T, self.experts_per_token)
        logits_TE = routing.logits_TE[:, routing.num_kept :]
        # Of as many as a token meets all would always be chosen: nothing to balance.
        top_k = min(self.experts_per_token, max(1, logits_TE.shape[1] - 1))
        return balance_loss(logits_TE, roles.is_token_T, top_k)

    def expand(self, model: Any, context: GraftContext) -> None:
        """Replace what stands for the FFN of every chosen layer by an ``ExpandedFFN`` around it."""
        sites = find_ffn_sites(model, original_ffn)
        ffns = [site.attribute for site in sites]
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
            add_attention_adapters(model, self.attention_rank, ffns, context)
