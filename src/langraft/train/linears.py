"""Linear layers in float32 on a processor, by the library that multiplies faster there.

Shape suffixes: T = tokens, D = width in, G = width out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor, nn

from langraft.graft.products import prefers_onednn, product


@contextlib.contextmanager
def fast_linears() -> Generator[None]:
    """Compute float32 linear layers inside by ``graft.products.product``, forward and backward.

    Only while training: logits that are compared with another program's are computed as there.
    """
    with contextlib.ExitStack() as stack:
        if prefers_onednn():
            stack.enter_context(_exchanged())
        yield


@contextlib.contextmanager
def _exchanged() -> Generator[None]:
    """Exchange ``nn.functional.linear`` for ``_Linear`` inside, where that can compute it.

    A ``TorchFunctionMode`` would be off within a backward pass, where checkpoints would recompute
    layers otherwise than they were computed.
    """
    plain: Any = nn.functional.linear

    def linear(input: Any, weight: Any, bias: Any = None) -> Any:
        if _is_plain(input) and _is_plain(weight):
            return _Linear.apply(input, weight, bias)
        return plain(input, weight, bias)

    nn.functional.linear = linear  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        nn.functional.linear = plain


def _is_plain(tensor: Any) -> bool:
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.dtype == torch.float32
        and tensor.numel() > 0
        and tensor.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


class _Linear(torch.autograd.Function):
    """``x @ weight.T + bias``; a gradient only for what asks for one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        x_TD = x.reshape(-1, x.shape[-1])
        wants_x, wants_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x_TD if wants_weight else None, weight if wants_x else None)
        return product(x_TD, weight, bias).view(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x_TD, weight = ctx.saved_tensors
        gradient = gradients[0]
        gradient_TG = gradient.reshape(-1, gradient.shape[-1])
        return (
            None
            if weight is None
            else product(gradient_TG, weight.T).view(*gradient.shape[:-1], -1),
            None if x_TD is None else product(gradient_TG.T, x_TD.T),
            gradient_TG.sum(dim=0) if ctx.needs_input_grad[2] else None,
        )
