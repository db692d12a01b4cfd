"""Frozen matrices held in 8 or 4 bits while the experts train.

The codes are those of bitsandbytes: 8 bits by block (Dettmers et al., arXiv:2110.02861, section
2.1) or 4-bit NormalFloat with quantised scales (QLoRA, arXiv:2305.14314, section 3). A matrix is
decoded for each product, forward and backward, and computed with in the precision of the rest:
memory is saved, not time. Deviations from the library's own layers: inputs are not rounded to 8
bits with it, and nothing of a layer is kept for the backward pass.

Shape suffixes: D = width in, F = width out.
"""

from __future__ import annotations

import logging
from typing import Any, Literal

import torch
from torch import Tensor, nn

from langraft.core.errors import MissingExtraError, RecipeError
from langraft.families.sites import decoder_layers
from langraft.graft.freeze import group_of
from langraft.graft.wrappers.free_columns import FreeColumnProjection

_BLOCK = 256  # values that share a scale, in 8 bits


class QuantizedLinear(nn.Module):
    """A frozen projection whose matrix is stored in 8 or 4 bits."""

    def __init__(self, base: nn.Linear, kind: Literal["int8", "int4"], device: Any) -> None:
        """Encode a projection's matrix on a device; its bias stays as it is."""
        super().__init__()
        functional: Any = bitsandbytes(f"training.quantize_frozen: {kind}").functional
        weight_FD = base.weight.data.to(device)
        if kind == "int8":
            codes, state = functional.quantize_blockwise(weight_FD, blocksize=_BLOCK)
            self._decode = functional.dequantize_blockwise
        else:
            codes, state = functional.quantize_4bit(
                weight_FD, quant_type="nf4", compress_statistics=True
            )
            self._decode = functional.dequantize_4bit
        self.in_features, self.out_features = base.in_features, base.out_features
        self.bias = base.bias
        self._state = state
        self.register_buffer("codes", codes, persistent=False)
        self.register_buffer("scales", state.absmax, persistent=False)
        self.codes: Tensor

    @property
    def weight(self) -> Tensor:
        """The matrix, decoded, (F, D)."""
        return self._decode(self.codes, self._state)

    def forward(self, x: Tensor) -> Tensor:
        """Project (..., D) to (..., F)."""
        return _Product.apply(x, self)


class _Product(torch.autograd.Function):
    """A product that keeps neither its input nor the decoded matrix."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: QuantizedLinear) -> Tensor:
        ctx.layer, ctx.dtype = layer, x.dtype
        return nn.functional.linear(x, layer.weight, layer.bias)

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        gradient: Tensor = upstream[0]
        return (gradient @ ctx.layer.weight.to(gradient.dtype)).to(ctx.dtype), None


def quantize_frozen(
    model: nn.Module, kind: Literal["int8", "int4"], device: torch.device
) -> list[str]:
    """Replace the frozen projections of the decoder layers, in place.

    Args:
        model: A grafted model whose trained parameters are known; its experts are copies already.
        kind: Of code.
        device: Where matrices are encoded and stay.

    Returns:
        Names of the replaced projections.

    Raises:
        RecipeError: when there is nothing that could be replaced.
        MissingExtraError: when bitsandbytes is not installed.
    """
    found = frozen_projections(model)
    if not found:
        raise RecipeError(
            f"training.quantize_frozen: given {kind}, but the decoder layers of "
            f"{type(model).__name__} hold no frozen linear projection: the stage trains them all "
            "or columns of each (ssu), or they are of another kind (GPT-2's). Leave the key out."
        )
    for name, projection in found.items():
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, QuantizedLinear(projection, kind, device))
    return list(found)


def frozen_projections(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the projections of the base that do not train, by name; whole ones only."""
    prefix, layers = decoder_layers(model)
    split = {id(m.base) for m in layers.modules() if isinstance(m, FreeColumnProjection)}
    return {
        f"{prefix}.{name}": module
        for name, module in layers.named_modules()
        if isinstance(module, nn.Linear)
        and not group_of(module)
        and id(module) not in split
        and not any(parameter.requires_grad for parameter in module.parameters())
    }


def bitsandbytes(purpose: str) -> Any:
    """Import bitsandbytes, without the warnings that its caller can do nothing about.

    Raises:
        MissingExtraError: when it is not installed.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import bitsandbytes as library
    except ImportError:
        raise MissingExtraError("bitsandbytes", "quantize", purpose) from None
    return library
