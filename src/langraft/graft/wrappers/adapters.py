"""Adapters of shared weights, scaled by how much of a token the new experts gave.

MoE-LPR freezes all that languages share, so word order must be learned by FFNs and the output
matrix stays as it was. Here each attention projection of a layer, and the output matrix, may get
an addition, scaled for each token by how much of its output came from the expansion's experts in
the nearest layer below that has some:

    y = W x + U (s D x),   s = weight of these experts below, 0 <= s <= 1

A token of an original language, which the router sends to the original FFN, meets almost none of
it, and a guarded sequence none. Ours; the low-rank form is LoRA's (arXiv:2106.09685), with rank
"full" there is no D and U has the shape of W. U starts at zero, so the base's function is
unchanged at step 0; no gradient flows through s, which the router's own losses shape.

Shape suffixes: T = tokens, D = model width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from langraft.families.sites import decoder_layers, projection_shape
from langraft.graft.expansion_context import GraftContext, KeptTokens
from langraft.graft.moe.expanded_ffn import ExpandedFFN, expanded_ffns
from langraft.graft.wrappers.base import AbstractMatrixWrapper, frozen_module, wrap_head

Rank = Annotated[int, Field(ge=0, le=2**16)] | Literal["full"]


class AdaptedProjection(AbstractMatrixWrapper):
    """A frozen projection and its addition."""

    is_by_token: ClassVar[bool] = True

    def __init__(
        self,
        base: nn.Module,
        rank: Rank,
        layer_below: int,
        context: GraftContext,
        seed: int,
        *,
        is_output: bool = False,
    ) -> None:
        """Wrap a projection; the caller puts the result in its place.

        Args:
            base: Linear, Conv1D of GPT-2, an output matrix with token rows, or another adapter.
            rank: Of the addition.
            layer_below: Whose new experts scale it.
            context: Of the expansion.
            seed: Of the first weights of D.
            is_output: Whether it is the output matrix, which some tokens need not reach.
        """
        super().__init__(base, context)
        self.shape = projection_shape(frozen_module(base))
        width_out, width_in = self.shape
        device = "meta" if frozen_module(base).weight.is_meta else None  # a plan needs no memory
        self._seed = seed
        low_width = width_in if rank == "full" else rank
        self.adapter_up = nn.Linear(low_width, width_out, bias=False, device=device)
        nn.init.zeros_(self.adapter_up.weight)
        self.adapter_down = None
        if rank != "full":
            self.adapter_down = nn.Linear(width_in, rank, bias=False, device=device)
            if device is None:
                self.adapter_down.weight.data = self.first_down()
        for part in self.children():
            if part is not base:
                part.langraft_group = "adapters"  # pyright: ignore[reportArgumentType]
        self.layer_below = layer_below
        self.is_output = is_output
        context.recorder.follow(layer_below)

    @torch.no_grad()
    def first_down(self) -> Tensor:
        """Return the first weights of D, (rank, width in); U starts at zero."""
        assert self.adapter_down is not None
        weight = torch.empty(self.adapter_down.weight.shape)
        bound = 1 / math.sqrt(weight.shape[1])
        generator = torch.Generator().manual_seed(self._seed)
        return nn.init.uniform_(weight, -bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """Project (..., D)."""
        return self._context.guard.choose(lambda: self.base(x), lambda: self._adapt(x))

    def _matrix(self) -> Tensor:
        raise AssertionError("each token meets its own")

    def _adapt(self, x: Tensor) -> Tensor:
        y: Tensor = self.base(x)
        kept, recorder = self._context.kept, self._context.recorder
        if self.is_output and not kept.are_known:
            new_T = self._context.passes.share_of(recorder, self.layer_below, x)
        else:
            new_T = recorder.new_share_T(self.layer_below)
            if self.is_output:
                new_T = kept.choose(new_T, len(x))
        low = x.to(self.adapter_up.weight.dtype)
        if self.adapter_down is not None:
            low = self.adapter_down(low)
        scaled = new_T.view(*x.shape[:-1], 1).to(low.dtype) * low
        return y + self.adapter_up(scaled).to(y.dtype)


def add_attention_adapters(
    model: Any, rank: Rank, ffns: Sequence[str], context: GraftContext
) -> None:
    """Put adapters on the attention projections of every layer above the first with experts.

    Args:
        model: With its experts in place.
        rank: Of each addition.
        ffns: Name of each layer's FFN in the layer.
        context: Of the model.
    """
    below = None
    for number, (layer, ffn) in enumerate(zip(decoder_layers(model)[1], ffns, strict=True)):
        if below is not None:
            for place, (name, module) in enumerate(projections_outside(layer, ffn)):
                parent, _, attribute = name.rpartition(".")
                seed = context.first_weights + 1000 * (number + 1) + place
                adapted = AdaptedProjection(module, rank, below, context, seed)
                setattr(layer.get_submodule(parent), attribute, adapted)
        expanded = layer.get_submodule(ffn)
        if isinstance(expanded, ExpandedFFN) and expanded.belongs_to(context):
            below = number


def projections_outside(layer: nn.Module, ffn: str) -> list[tuple[str, nn.Module]]:
    """Return the projections of a layer outside its FFN, with or without adapters, by name."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in layer.named_modules():
        is_inside = any(name.startswith(f"{outer}.") for outer in (ffn, *(n for n, _ in found)))
        if isinstance(module, nn.Linear | Conv1D | AdaptedProjection) and not is_inside:
            found.append((name, module))
    return found


def add_output_adapter(model: Any, rank: Rank, context: GraftContext) -> None:
    """Put an adapter on the output matrix, scaled by the last layer that has experts.

    Languages that share a script share tokens, and an output row serves them all; through the
    adapter a token of a new language reads rows of its own.

    Args:
        model: With its experts in place.
        rank: Of the addition.
        context: Of the model.
    """
    below = max(ffn.layer for ffn in expanded_ffns(model) if ffn.belongs_to(context))
    seed = context.first_weights
    wrap_head(
        model,
        lambda head: AdaptedProjection(head, rank, below, context, seed, is_output=True),
    )
    model.register_forward_pre_hook(_note_kept_tokens, with_kwargs=True)
    model.register_forward_hook(_forget_kept_tokens, always_call=True)


def _note_kept_tokens(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Tell output adapters for which tokens logits are wanted (``logits_to_keep``)."""
    del args
    wanted = kwargs.get("logits_to_keep", 0)
    kept: KeptTokens = model.langraft.context.kept
    kept.of_sequence = slice(-wanted, None) if isinstance(wanted, int) else wanted
    kept.is_in_model = True


def _forget_kept_tokens(model: Any, args: Any, output: Any) -> None:
    del args, output
    model.langraft.context.kept.is_in_model = False
