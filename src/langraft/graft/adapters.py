"""Low-rank adapters of shared weights that only tokens of new languages meet.

MoE-LPR freezes all that languages share, so word order must be learned by FFNs and the output
matrix stays as it was. Here each attention projection of a layer, and the output matrix, may get
a low-rank addition, scaled for each token by how much of its output came from new experts in the
nearest layer below that has some:

    y = W x + U (s D x),   s = 1 - weight of the original FFN below, 0 <= s <= 1

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
    """A frozen projection and its low-rank addition."""

    def __init__(
        self, base: nn.Module, rank: int, layer_below: int, context: GraftContext, seed: int
    ) -> None:
        """Wrap a projection; the caller puts the result in its place.

        Args:
            base: Linear, Conv1D of GPT-2, or an output matrix with token rows.
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
        self.kept: slice | Tensor = slice(None)  # of each sequence, the tokens that get here
        self._context = context
        context.new_share.setdefault(layer_below, torch.zeros(0))

    @property
    def weight(self) -> Any:
        """The frozen matrix, for code that asks for its dtype, device or shape."""
        return self.base.weight

    @property
    def new_share_T(self) -> Tensor:
        """The share of new experts below, by token of the whole batch."""
        return self._context.new_share[self.layer_below]

    def forward(self, x: Tensor, new_share_T: Tensor | None = None) -> Tensor:
        """Project (..., D).

        Args:
            x: Tokens: (B, S, D), or some rows of them, (T, D).
            new_share_T: Of these rows; left out: of the current pass, for all that are ``kept``.
        """
        return self._context.guard.choose(lambda: self.base(x), lambda: self._adapt(x, new_share_T))

    def _adapt(self, x: Tensor, new_share_T: Tensor | None) -> Tensor:
        y: Tensor = self.base(x)
        if new_share_T is None:
            new_share_T = self.new_share_T.view(len(x), -1)[:, self.kept]
        low = self.adapter_down(x.to(self.adapter_down.weight.dtype))
        return y + self.adapter_up(new_share_T.reshape(*x.shape[:-1], 1) * low).to(y.dtype)


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
        if isinstance(layer.get_submodule(ffn), ExpandedFFN):
            below = number


def add_output_adapter(model: Any, rank: int, context: GraftContext) -> None:
    """Put an adapter on the output matrix, scaled by the last layer that has experts.

    Languages that share a script share tokens, and an output row serves them all; through the
    adapter a token of a new language reads rows of its own.

    Args:
        model: With its experts in place.
        rank: Of the addition.
        context: Of the model.
    """
    below = max(module.layer for module in model.modules() if isinstance(module, ExpandedFFN))
    head = model.get_output_embeddings()
    model.set_output_embeddings(AdaptedProjection(head, rank, below, context, context.seed))
    model.register_forward_pre_hook(_note_kept, with_kwargs=True)


def _note_kept(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Tell the output matrix for which tokens logits are wanted; generation wants the last."""
    del args
    kept = kwargs.get("logits_to_keep", 0)
    model.get_output_embeddings().kept = slice(-kept, None) if isinstance(kept, int) else kept
