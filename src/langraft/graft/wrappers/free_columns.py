"""Projections of which some columns train and the others are frozen, exactly.

The base's matrix stays whole and frozen where it was; its free columns stand in a tensor of their
own, which takes their place in every product. So a frozen column has no gradient, no moment of the
optimizer and no decay, and that it did not move is proved by the fingerprint of the whole matrix.
A column belongs to one input feature: it is what that feature adds to all outputs.

Shape suffixes: T = tokens, O = outputs, I = inputs, F = free columns.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from langraft.core.errors import ModelError
from langraft.families.sites import decoder_layers, layer_projections, projection_shape
from langraft.graft.expansion_context import GraftContext
from langraft.graft.freeze import never_train
from langraft.graft.moe.expanded_ffn import ExpandedFFN
from langraft.graft.wrappers.adapters import projections_outside
from langraft.graft.wrappers.base import AbstractMatrixWrapper

ATTENTION = "attention"  # the group of parameters


class FreeColumns(nn.Module):
    """The free columns of a matrix: (O, F), or (F, O) beside GPT-2's Conv1D, which stores (I, O).

    They hold weights, not differences from the base's, so that decay is what it is for the rest.
    """

    def __init__(self, places: Sequence[int], base_weight: Tensor, dim: int, group: str) -> None:
        """Start with the base's own columns, in float32 as all that trains.

        Args:
            places: Of the free columns, ascending.
            base_weight: The base's matrix; on the meta device these are there too.
            dim: Dimension of its columns.
            group: Of parameters, which stages name under `trains`.
        """
        super().__init__()
        self.langraft_group = group
        self.dim = dim
        self.places: Tensor
        self.register_buffer("places", torch.tensor(places, dtype=torch.long), persistent=False)
        if base_weight.is_meta:
            shape = list(base_weight.shape)
            shape[dim] = len(places)
            self.weight = nn.Parameter(torch.empty(shape, device="meta"))
        else:
            own = base_weight.detach().index_select(dim, self.places.to(base_weight.device))
            self.weight = nn.Parameter(own.float())

    def put_into(self, weight: Tensor) -> Tensor:
        """Return a matrix with these columns in their places, in its own precision."""
        # A copy always: what its user writes into it is lost.
        return weight.index_copy(self.dim, self.places, self.weight.to(weight.dtype))


class FreeColumnProjection(AbstractMatrixWrapper):
    """A frozen projection with some columns of its own, which guarded sequences do not meet."""

    def __init__(
        self,
        base: nn.Module,
        places: Sequence[int],
        context: GraftContext,
        group: str = "columns",
    ) -> None:
        """Wrap a Linear or a Conv1D of GPT-2; arguments as for ``FreeColumns``."""
        super().__init__(base, context)
        weight: Any = base.weight
        self.columns = FreeColumns(places, weight, column_dimension(base), group)

    def forward(self, x_TI: Tensor) -> Tensor:
        """Project (..., I) to (..., O)."""
        return self._context.guard.choose(lambda: self.base(x_TI), lambda: self._product(x_TI))

    def _product(self, x_TI: Tensor) -> Tensor:
        base, columns = cast("Any", self.base), self.columns
        return _ProductByColumns.apply(
            x_TI, base.weight, columns.weight, columns.places, base.bias, columns.dim
        )

    def _matrix(self) -> Tensor:
        return self.columns.put_into(self.base.weight)  # pyright: ignore[reportArgumentType]


class _ProductByColumns(torch.autograd.Function):
    """A product with the free columns in place that gives a gradient to them alone.

    Autograd would compute one for the whole matrix, and keep the matrix with its columns in place
    for the backward pass; here it is put together once more.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_TI: Tensor,
        weight: Tensor,
        columns: Tensor,
        places_F: Tensor,
        bias_O: Tensor | None,
        dim: int,
    ) -> Tensor:
        ctx.save_for_backward(x_TI, weight, columns, places_F)
        ctx.dim = dim
        matrix = _put_together(weight, columns, places_F, dim)
        return nn.functional.linear(x_TI, matrix if dim == 1 else matrix.T, bias_O)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        gradient: Tensor = upstream[0]
        x_TI, weight, columns, places_F = ctx.saved_tensors
        of_x = of_columns = None
        if ctx.needs_input_grad[0]:
            matrix = _put_together(weight, columns, places_F, ctx.dim)
            matrix_OI = matrix if ctx.dim == 1 else matrix.T
            of_x = (gradient @ matrix_OI.to(gradient.dtype)).to(x_TI.dtype)
        if ctx.needs_input_grad[2]:
            gradient_TO = gradient.flatten(0, -2)
            x_TF = x_TI.flatten(0, -2)
            if columns.shape != weight.shape:
                x_TF = x_TF.index_select(1, places_F)
            x_TF = x_TF.to(gradient.dtype)
            product = gradient_TO.T @ x_TF if ctx.dim == 1 else x_TF.T @ gradient_TO
            of_columns = product.to(columns.dtype)
        return of_x, None, of_columns, None, None, None


def _put_together(weight: Tensor, columns: Tensor, places_F: Tensor, dim: int) -> Tensor:
    """Return a matrix with its free columns in their places, in its own precision."""
    columns = columns.to(weight.dtype)
    if columns.shape == weight.shape:  # all are free, and they stand in order
        return columns
    return weight.index_copy(dim, places_F, columns)


def train_attention(model: Any, ffns: Sequence[str], context: GraftContext) -> None:
    """Let attention train, in place: all columns of every projection outside the FFNs are free.

    The frozen projections stay behind them for guarded sequences. Layers below the first with
    experts of this expansion stay as they are.

    Args:
        model: With its experts in place.
        ffns: Name of each layer's FFN in the layer.
        context: Of the expansion.

    Raises:
        ModelError: when an earlier expansion's languages would be changed by it.
    """
    if context.number:
        raise ModelError(
            "method.attention: trained would change what an earlier expansion has learned, which "
            "reads the same attention. Leave it out, or expand the base."
        )
    has_begun = False
    for layer, ffn in zip(decoder_layers(model)[1], ffns, strict=True):
        has_begun |= isinstance(layer.get_submodule(ffn), ExpandedFFN)
        if has_begun:
            for name, projection in projections_outside(layer, ffn):
                parent, _, attribute = name.rpartition(".")
                places = range(projection_shape(projection)[1])
                wrapped = FreeColumnProjection(projection, places, context, ATTENTION)
                setattr(layer.get_submodule(parent), attribute, wrapped)


def column_dimension(projection: nn.Module) -> int:
    """Return the dimension of a projection's weight that its input features stand in."""
    return 0 if isinstance(projection, Conv1D) else 1


def add_free_columns(
    model: Any, columns: Mapping[str, Sequence[int]], context: GraftContext
) -> None:
    """Give every projection of the decoder layers free columns, in place; freeze the layers' rest.

    Args:
        model: A base, which may be without weights.
        columns: By name of a projection the places of its free columns, ascending.
        context: Of the expansion.

    Raises:
        ModelError: when a projection has no choice or the other way round, or places are not
            ascending places of columns, or leave none frozen.
    """
    projections = layer_projections(model)
    if different := sorted(columns.keys() ^ projections.keys()):
        raise ModelError(
            f"The free columns are not those of this base's projections: {different[0]} is in one "
            f"of the two only ({len(different)} such names). They were chosen on another base."
        )
    never_train(module for layer in decoder_layers(model)[1] for module in layer.modules())
    for name, projection in projections.items():
        places = columns[name]
        width_in = projection_shape(projection)[1]
        is_ascending = all(a < b for a, b in itertools.pairwise(places))
        if not (places and is_ascending and 0 <= places[0] <= places[-1] < width_in > len(places)):
            raise ModelError(
                f"{name} has {width_in} columns; its {len(places)} free ones must be some of them, "
                "but not all, each once and in ascending order."
            )
        parent, _, attribute = name.rpartition(".")
        wrapped = FreeColumnProjection(projection, places, context)
        setattr(model.get_submodule(parent), attribute, wrapped)
