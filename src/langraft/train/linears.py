"""Linear layers in float32 on a processor, by the library that multiplies faster there.

Shape suffixes: T = tokens, D = width in, G = width out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from langraft.graft.products import prefers_onednn, product


@contextlib.contextmanager
def fast_linears() -> Generator[None]:
    """Compute float32 linear layers inside by ``graft.products.product``, forward and backward.

    Only while training: logits that are compared with another program's are computed as there.
    """
    with contextlib.ExitStack() as stack:
        if prefers_onednn():
            stack.enter_context(_ProductMode())
        yield


class _ProductMode(TorchFunctionMode):
    """Sends ``nn.functional.linear`` to ``_Linear`` where that can compute it."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if function is nn.functional.linear and not kwargs and all(map(_is_plain, args[:2])):
            x, weight, bias = args if len(args) == 3 else (*args, None)
            return _Linear.apply(x, weight, bias)
        return function(*args, **(kwargs or {}))


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
        y_TG = product(x_TD, weight)
        if bias is not None:
            y_TG = y_TG.add_(bias)
        return y_TG.view(*x.shape[:-1], len(weight))

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
