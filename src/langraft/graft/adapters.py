"""Low-rank attention adapters that only tokens of new languages meet.

MoE-LPR freezes attention, so word order must be learned by FFNs. Here each attention projection
of a layer gets a low-rank addition, scaled for each token by how much of its output came from
new experts in the nearest layer below that has some:

    y = W x + s U D x,   s = 1 - weight of the original FFN below, 0 <= s <= 1

A token of an original language, which the router sends to the original FFN, meets almost none of
it, and a guarded sequence none. Ours; the low-rank form is LoRA's (arXiv:2106.09685). U starts at
zero, so the base's function is unchanged at step 0; no gradient flows through s, which the
router's own losses shape.

Shape suffixes: T = tokens, D = model width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from langraft.families.sites import decoder_layers, projection_shape
from langraft.graft.context import GraftContext
from langraft.graft.expanded_ffn import ExpandedFFN


class AdaptedProjection(nn.Module):
    """A frozen attention projection and its low-rank addition."""

    def __init__(
        self, base: nn.Module, rank: int, layer_below: int, context: GraftContext, seed: int
    ) -> None:
        """Wrap a projection; the caller puts the result in its place.

        Args:
            base: Linear, or Conv1D of GPT-2.
            rank: Of the addition.
            layer_below: Whose new experts scale it.
            context: Of the model.
            seed: Of the first weights of D.
        """
        super().__init__()
        width_out, width_in = projection_shape(base)
        self.base = base
        self.adapter_down = nn.Linear(width_in, rank, bias=False)
        self.adapter_up = nn.Linear(rank, width_out, bias=False)
        for part in (self.adapter_down, self.adapter_up):
            part.langraft_group = "adapters"  # pyright: ignore[reportArgumentType]
        bound = 1 / math.sqrt(width_in)
        generator = torch.Generator().manual_seed(seed)
        nn.init.uniform_(self.adapter_down.weight, -bound, bound, generator=generator)
        nn.init.zeros_(self.adapter_up.weight)
        self.layer_below = layer_below
        self._context = context

    def forward(self, x: Tensor) -> Tensor:
        """Project (..., D)."""
        return self._context.guard.choose(lambda: self.base(x), lambda: self._adapt(x))

    def _adapt(self, x: Tensor) -> Tensor:
        y: Tensor = self.base(x)
        new_T = self._context.new_share[self.layer_below]
        addition = self.adapter_up(self.adapter_down(x.to(self.adapter_down.weight.dtype)))
        return y + (new_T.view(*x.shape[:-1], 1) * addition).to(y.dtype)


def add_attention_adapters(
    model: Any, rank: int, ffns: Sequence[str], context: GraftContext
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
            projections = [
                (name, module)
                for name, module in layer.named_modules()
                if isinstance(module, nn.Linear | Conv1D) and name.partition(".")[0] != ffn
            ]
            for place, (name, module) in enumerate(projections):
                parent, _, attribute = name.rpartition(".")
                seed = context.seed + 1000 * (number + 1) + place
                adapted = AdaptedProjection(module, rank, below, context, seed)
                setattr(layer.get_submodule(parent), attribute, adapted)
                context.new_share.setdefault(below, torch.zeros(0))
        if isinstance(layer.get_submodule(ffn), ExpandedFFN):
            below = number
