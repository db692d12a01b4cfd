"""Matrix products, one for each expert that has rows: the fast one of each processor.

    forward           y[rows of n] = x[rows of n] @ weight[n].T
    towards inputs    dx[rows of n] = dy[rows of n] @ weight[n]
    towards weights   dweight[n] = dy[rows of n].T @ x[rows of n]

GPUs that have a kernel for it run each as one ``grouped_mm`` and need not know on the host where
experts end. All else runs an expert after the other, without those that have no row. Rows beyond
the last end belong to nobody: they are read by nothing and hold anything.

Shape suffixes: A = rows sorted by expert, N = experts, D = width in, G = width out.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_CPUINFO = Path("/proc/cpuinfo")


def product(a_MK: Tensor, b_NK: Tensor, bias_N: Tensor | None = None) -> Tensor:
    """Return ``a @ b.T + bias``, (M, N), without gradients.

    On AMD's processors with AVX-512, MKL, which torch multiplies float32 matrices by, reaches
    half the speed of oneDNN, which torch ships too (measured in docs/performance.md).
    """
    is_float32 = a_MK.dtype == torch.float32 and b_NK.dtype == torch.float32
    if is_float32 and a_MK.device.type == "cpu" and a_MK.numel() and prefers_onednn():
        return torch.ops.mkldnn._linear_pointwise(
            _by_rows_or_columns(a_MK), _by_rows_or_columns(b_NK), bias_N, "none", [], ""
        )
    return a_MK @ b_NK.T if bias_N is None else torch.addmm(bias_N, a_MK, b_NK.T)


def _by_rows_or_columns(matrix: Tensor) -> Tensor:
    """Return the matrix itself where it lies in memory by rows or columns, else a copy."""
    (rows, columns), (by_row, by_column) = matrix.shape, matrix.stride()
    is_plain = (by_column == 1 and by_row >= columns) or (by_row == 1 and by_column >= rows)
    return matrix if is_plain else matrix.contiguous()


@functools.cache
def prefers_onednn() -> bool:
    """Say whether float32 products of this machine's processor are faster by oneDNN than by MKL."""
    has_both = torch.backends.mkl.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    if not has_both or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    return _CPUINFO.is_file() and "AuthenticAMD" in _CPUINFO.read_text(encoding="utf-8")


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
        return product(x_AD, weight[self.number], None if bias is None else bias[self.number])

    def towards_inputs(self, gradient_AG: Tensor, weight: Tensor) -> Tensor:
        """Return the gradient of ``forward`` for its rows, (A, D)."""
        return product(gradient_AG, weight[self.number].T)

    def towards_weights(self, gradient_AG: Tensor, x_AD: Tensor, into: Tensor) -> None:
        """Write the gradient of ``forward`` for the expert's weight into its (G, D) place."""
        into[self.number] = product(gradient_AG.T, x_AD.T)

    def towards_bias(self, gradient_AG: Tensor, into: Tensor) -> None:
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
            y_AG = torch.nn.functional.grouped_mm(x_AD, weight.mT, offs=self.ends_N)
        else:
            y_AG = _by_expert(x_AD, weight, self.ends_N)
        if bias is None:
            return y_AG
        with_none = torch.cat([bias, bias.new_zeros(1, bias.shape[1])])
        return y_AG + with_none.index_select(0, self._expert_of_row(len(y_AG)))

    def towards_inputs(self, gradient_AG: Tensor, weight: Tensor) -> Tensor:
        """Return the gradient of ``forward`` for its rows, (A, D)."""
        if _is_grouped(gradient_AG, weight.shape[2]):
            return torch.nn.functional.grouped_mm(gradient_AG, weight, offs=self.ends_N)
        return _towards_inputs(gradient_AG, weight, self.ends_N)

    def towards_weights(self, gradient_AG: Tensor, x_AD: Tensor, into: Tensor) -> None:
        """Write the gradient of ``forward`` for the weights, (N, G, D); 0 without rows."""
        if _is_grouped(gradient_AG, x_AD.shape[1]):
            into.copy_(torch.nn.functional.grouped_mm(gradient_AG.T, x_AD, offs=self.ends_N))
        else:
            into.copy_(_towards_weights(gradient_AG, x_AD, self.ends_N))

    def towards_bias(self, gradient_AG: Tensor, into: Tensor) -> None:
        """Write the gradient of ``forward`` for the biases, (N, G)."""
        sums = into.new_zeros(len(into) + 1, into.shape[1])
        expert_A = self._expert_of_row(len(gradient_AG))
        into.copy_(sums.index_add_(0, expert_A, gradient_AG)[:-1])

    def _expert_of_row(self, num_rows: int) -> Tensor:
        """Return each row's expert, N for nobody's."""
        rows = torch.arange(num_rows, device=self.ends_N.device, dtype=self.ends_N.dtype)
        return torch.searchsorted(self.ends_N, rows, right=True)


def _is_grouped(rows: Tensor, other_width: int) -> bool:
    # Without a row, as a process that shares out experts may be, our own loop has nothing to do.
    return len(rows) > 0 and has_grouped_mm(rows.device, rows.dtype, rows.shape[-1], other_width)


def groups(ends_N: Tensor) -> Sequence[OneExpert | AllExperts]:
    """Return the experts that have rows: each for itself where the host knows their ends."""
    if ends_N.device.type != "cpu":
        return [AllExperts(ends_N)]
    return [OneExpert(number, rows) for number, rows in _slices(ends_N)]


def _slices(ends_N: Tensor) -> list[tuple[int, slice]]:
    """Return the experts that have rows, and their rows."""
    ends = ends_N.tolist()
    starts = [0, *ends[:-1]]
    return [(n, slice(a, b)) for n, (a, b) in enumerate(zip(starts, ends, strict=True)) if b > a]


@torch.library.custom_op("langraft::grouped_linear", mutates_args=())
def _by_expert(x_AD: Tensor, weight: Tensor, ends_N: Tensor) -> Tensor:
    y_AG = x_AD.new_empty(len(x_AD), weight.shape[1])
    for n, rows in _slices(ends_N):
        y_AG[rows] = product(x_AD[rows], weight[n])
    return y_AG


@torch.library.custom_op("langraft::grouped_linear_towards_inputs", mutates_args=())
def _towards_inputs(gradient_AG: Tensor, weight: Tensor, ends_N: Tensor) -> Tensor:
    gradient_AD = gradient_AG.new_empty(len(gradient_AG), weight.shape[2])
    for n, rows in _slices(ends_N):
        gradient_AD[rows] = product(gradient_AG[rows], weight[n].T)
    return gradient_AD


@torch.library.custom_op("langraft::grouped_linear_towards_weights", mutates_args=())
def _towards_weights(gradient_AG: Tensor, x_AD: Tensor, ends_N: Tensor) -> Tensor:
    gradient = x_AD.new_zeros(len(ends_N), gradient_AG.shape[1], x_AD.shape[1])
    for n, rows in _slices(ends_N):
        gradient[n] = product(gradient_AG[rows].T, x_AD[rows].T)
    return gradient


@_by_expert.register_fake
def _(x_AD: Tensor, weight: Tensor, ends_N: Tensor) -> Tensor:
    return x_AD.new_empty(len(x_AD), weight.shape[1])


@_towards_inputs.register_fake
def _(gradient_AG: Tensor, weight: Tensor, ends_N: Tensor) -> Tensor:
    return gradient_AG.new_empty(len(gradient_AG), weight.shape[2])


@_towards_weights.register_fake
def _(gradient_AG: Tensor, x_AD: Tensor, ends_N: Tensor) -> Tensor:
    return x_AD.new_empty(len(ends_N), gradient_AG.shape[1], x_AD.shape[1])


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, gradient_AG: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    x_AD, weight, ends_N = ctx.saved_tensors
    wants_x, wants_weight = ctx.needs_input_grad[:2]
    return (
        _towards_inputs(gradient_AG, weight, ends_N) if wants_x else None,
        _towards_weights(gradient_AG, x_AD, ends_N) if wants_weight else None,
        None,
    )


_by_expert.register_autograd(_backward, setup_context=_save)
