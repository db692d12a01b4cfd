"""One linear layer an expert, over rows that are sorted by expert, forward and backward.

    forward       y[rows of n] = x[rows of n] @ weight[n].T
    grad_input    dx[rows of n] = dy[rows of n] @ weight[n]
    grad_weight   dweight[n] = dy[rows of n].T @ x[rows of n]

GPUs that have a kernel for it run each as one ``grouped_mm`` and need not know on the host where
experts end. All else runs one expert after the other and skips those without rows. Rows beyond the
last end are padding: nothing reads them, and they may hold any value.

Shape suffixes: A = rows sorted by expert, N = experts, D = width in, G = width out.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def has_grouped_mm(device: torch.device, dtype: torch.dtype, *widths: int) -> bool:
    """Say whether rows and matrices of these widths have a kernel of ``grouped_mm``.

    It is for bfloat16 on Hopper and Blackwell, in strides of 16 bytes. For all else torch reads
    the ends back and multiplies one by one as we do, or refuses.
    """
    is_aligned = all(width % 8 == 0 for width in widths)
    return device.type == "cuda" and dtype == torch.bfloat16 and is_aligned and _is_new_gpu(device)


@functools.cache
def _is_new_gpu(device: torch.device) -> bool:
    return torch.cuda.get_device_capability(device)[0] in (9, 10)


@dataclass(frozen=True, slots=True)
class OneExpert:
    """The rows of one expert: what is made of them is still in a processor's cache.

    Attributes:
        number: 0..N-1.
        rows: Of all that are sorted by expert.
    """

    number: int
    rows: slice

    def forward(self, x_AD: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return ``x @ weight.T + bias`` of (N, G, D) weights and (N, G) biases, (A, G)."""
        own_bias = None if bias is None else bias[self.number]
        return functional.linear(x_AD, weight[self.number], own_bias)

    def grad_input(self, gradient_AG: Tensor, weight: Tensor) -> Tensor:
        """Return the gradient of ``forward`` for its rows, (A, D)."""
        return gradient_AG @ weight[self.number]

    def grad_weight(self, gradient_AG: Tensor, x_AD: Tensor, into: Tensor) -> None:
        """Write the gradient of ``forward`` for the expert's weight into its (G, D) place."""
        into[self.number] = gradient_AG.T @ x_AD

    def grad_bias(self, gradient_AG: Tensor, into: Tensor) -> None:
        """Write the gradient of ``forward`` for the expert's bias into its (G,) place."""
        into[self.number] = gradient_AG.sum(dim=0)


@dataclass(frozen=True, slots=True)
class AllExperts:
    """The rows of all experts at once, for a GPU that runs ahead of the host, or a compiler.

    Attributes:
        ends_N: Where each expert's rows end, int32, on the device.
    """

    ends_N: Tensor
    rows: slice = field(default_factory=lambda: slice(None))

    def forward(self, x_AD: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return ``x @ weight.T + bias`` with each row's expert's weight (N, G, D), (A, G)."""
        if _is_grouped(x_AD, weight.shape[1]):
            y_AG = functional.grouped_mm(x_AD, weight.mT, offs=self.ends_N)
        else:
            y_AG = _linear_of_each(x_AD, weight, self.ends_N)
        if bias is None:
            return y_AG
        with_padding = torch.cat([bias, bias.new_zeros(1, bias.shape[1])])
        return y_AG + with_padding.index_select(0, self._expert_of_row(len(y_AG)))

    def grad_input(self, gradient_AG: Tensor, weight: Tensor) -> Tensor:
        """Return the gradient of ``forward`` for its rows, (A, D)."""
        if _is_grouped(gradient_AG, weight.shape[2]):
            return functional.grouped_mm(gradient_AG, weight, offs=self.ends_N)
        return _grad_input_of_each(gradient_AG, weight, self.ends_N)

    def grad_weight(self, gradient_AG: Tensor, x_AD: Tensor, into: Tensor) -> None:
        """Write the gradient of ``forward`` for the weights, (N, G, D); 0 without rows."""
        if _is_grouped(gradient_AG, x_AD.shape[1]):
            into.copy_(functional.grouped_mm(gradient_AG.T, x_AD, offs=self.ends_N))
        else:
            into.copy_(_grad_weight_of_each(gradient_AG, x_AD, self.ends_N))

    def grad_bias(self, gradient_AG: Tensor, into: Tensor) -> None:
        """Write the gradient of ``forward`` for the biases, (N, G)."""
        sums = into.new_zeros(len(into) + 1, into.shape[1])
        expert_A = self._expert_of_row(len(gradient_AG))
        into.copy_(sums.index_add_(0, expert_A, gradient_AG)[:-1])

    def _expert_of_row(self, num_rows: int) -> Tensor:
        """Return each row's expert, N for padding."""
        rows = torch.arange(num_rows, device=self.ends_N.device, dtype=self.ends_N.dtype)
        return torch.searchsorted(self.ends_N, rows, right=True)


def _is_grouped(rows: Tensor, other_width: int) -> bool:
    # A process of expert parallelism may get no row at all: then our own loop does nothing.
    return len(rows) > 0 and has_grouped_mm(rows.device, rows.dtype, rows.shape[-1], other_width)


def expert_groups(ends_N: Tensor) -> Sequence[OneExpert | AllExperts]:
    """Return the experts to run: one by one where the host knows their ends, else all at once."""
    if ends_N.device.type != "cpu":
        return [AllExperts(ends_N)]
    return [OneExpert(number, rows) for number, rows in _slices(ends_N)]


def _slices(ends_N: Tensor) -> list[tuple[int, slice]]:
    """Return the number and rows of each expert that has rows."""
    ends = ends_N.tolist()
    starts = [0, *ends[:-1]]
    return [(n, slice(a, b)) for n, (a, b) in enumerate(zip(starts, ends, strict=True)) if b > a]


@torch.library.custom_op("langraft::grouped_linear", mutates_args=())
def _linear_of_each(x_AD: Tensor, weight: Tensor, ends_N: Tensor) -> Tensor:
    y_AG = x_AD.new_empty(len(x_AD), weight.shape[1])
    for n, rows in _slices(ends_N):
        y_AG[rows] = functional.linear(x_AD[rows], weight[n])
    return y_AG


@torch.library.custom_op("langraft::grouped_linear_grad_input", mutates_args=())
def _grad_input_of_each(gradient_AG: Tensor, weight: Tensor, ends_N: Tensor) -> Tensor:
    gradient_AD = gradient_AG.new_empty(len(gradient_AG), weight.shape[2])
    for n, rows in _slices(ends_N):
        gradient_AD[rows] = gradient_AG[rows] @ weight[n]
    return gradient_AD


@torch.library.custom_op("langraft::grouped_linear_grad_weight", mutates_args=())
def _grad_weight_of_each(gradient_AG: Tensor, x_AD: Tensor, ends_N: Tensor) -> Tensor:
    gradient = x_AD.new_zeros(len(ends_N), gradient_AG.shape[1], x_AD.shape[1])
    for n, rows in _slices(ends_N):
        gradient[n] = gradient_AG[rows].T @ x_AD[rows]
    return gradient


@_linear_of_each.register_fake
def _(x_AD: Tensor, weight: Tensor, ends_N: Tensor) -> Tensor:
    return x_AD.new_empty(len(x_AD), weight.shape[1])


@_grad_input_of_each.register_fake
def _(gradient_AG: Tensor, weight: Tensor, ends_N: Tensor) -> Tensor:
    return gradient_AG.new_empty(len(gradient_AG), weight.shape[2])


@_grad_weight_of_each.register_fake
def _(gradient_AG: Tensor, x_AD: Tensor, ends_N: Tensor) -> Tensor:
    return x_AD.new_empty(len(ends_N), gradient_AG.shape[1], x_AD.shape[1])


def _save_for_backward(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient_AG: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    x_AD, weight, ends_N = ctx.saved_tensors
    wants_x, wants_weight = ctx.needs_input_grad[:2]
    return (
        _grad_input_of_each(gradient_AG, weight, ends_N) if wants_x else None,
        _grad_weight_of_each(gradient_AG, x_AD, ends_N) if wants_weight else None,
        None,
    )


_linear_of_each.register_autograd(_backward, setup_context=_save_for_backward)
