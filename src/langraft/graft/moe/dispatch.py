"""Dispatch: each token to its K experts and back, none dropped.

Equals ``reference.mix_experts``: ``y[t] = sum_k weights[t, k] * expert[experts[t, k]](x[t])``.
Assignments of tokens to experts are sorted by expert, every expert computes its rows, and each
token sums the outputs of its assignments. Forward and backward only gather, in a fixed order, so
equal inputs give equal bits.

Shape suffixes: T = tokens, D = model width, K = top-k, E = experts, A = T * K assignments, R = rows
in the order of experts, padding included, R >= A.

Four tokens, K = 2, three experts, as an example:

    experts_TK      [[0, 2], [1, 0], [0, 1], [2, 0]]
    assignment      0     1     2     3     4     5     6     7        t * K + k
    expert_A        0     2     1     0     0     1     2     0        experts_TK, flat
    assignment_R    0  3  4  7 |  2  5 |  1  6                         sorted by expert, stable
    token_R         0  1  2  3 |  1  2 |  0  3                         assignment_R // K
    row_A           0     6     4     1     2     5     7     3        inverse of assignment_R

Expert 0 computes rows 0..3, expert 1 rows 4..5, expert 2 rows 6..7. Token 1 has assignments 2 and
3, so its output is weights[1, 0] * out[row_A[2]] + weights[1, 1] * out[row_A[3]], rows 4 and 1.
With padding every expert's rows are followed by some that stand for no assignment.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from langraft.graft.moe.experts import ExpertBank
from langraft.graft.moe.original_expert import OriginalExpert
from langraft.graft.moe.router import Routing

DispatchPath = Literal["auto", "sorted", "no_host_sync", "few_tokens"]

_FEW_TOKENS = 64


def dispatch(
    x_TD: Tensor,
    routing: Routing,
    banks: Sequence[ExpertBank],
    original: OriginalExpert | None = None,
    path: DispatchPath = "auto",
) -> Tensor:
    """Send each token to its K experts and sum their outputs by weight.

    Args:
        x_TD: Tokens.
        routing: Their experts and weights.
        banks: Experts 1.. beside an original, 0.. without one, one bank after the other.
        original: Expert 0.
        path: How: ``sorted`` by expert; ``no_host_sync``: the same without copying counts to the
            host, for one bank; ``few_tokens``: the chosen experts one by one, without gradients.
            ``auto`` takes the fastest that is possible.
    """
    if path == "auto":
        path = _fastest_path(x_TD, banks, original)
    if path == "no_host_sync":
        return _dispatch_without_host_sync(x_TD, routing, banks[0], original)
    if path == "few_tokens":
        return _dispatch_few_tokens(x_TD, routing, banks, original)
    return _dispatch_sorted(x_TD, routing, banks, original)


def _fastest_path(
    x_TD: Tensor, banks: Sequence[ExpertBank], original: OriginalExpert | None
) -> DispatchPath:
    wants_no_sync = torch.compiler.is_compiling() or banks[0].has_grouped_mm(x_TD)
    if wants_no_sync and len(banks) == 1 and (original is None or original.can_run_first):
        return "no_host_sync"
    is_generating = 0 < len(x_TD) <= _FEW_TOKENS and not torch.is_grad_enabled()
    if is_generating and not wants_no_sync and all(bank.is_whole for bank in banks):
        return "few_tokens"
    return "sorted"


def _dispatch_few_tokens(
    x_TD: Tensor,
    routing: Routing,
    banks: Sequence[ExpertBank],
    original: OriginalExpert | None,
) -> Tensor:
    """Sort assignments on the host: generation runs few tokens, and a call costs more than they."""
    num_tokens, top_k = routing.experts_TK.shape
    expert_A = [expert for experts in routing.experts_TK.tolist() for expert in experts]
    order_A = sorted(range(len(expert_A)), key=expert_A.__getitem__)
    is_one = num_tokens == 1  # its rows are all the same
    x_AD = x_TD if is_one else x_TD[torch.tensor([place // top_k for place in order_A])]
    parts: list[Tensor] = []
    start = 0
    for expert, same in itertools.groupby(order_A, key=expert_A.__getitem__):
        end = start + len(list(same))
        rows = x_AD if is_one else x_AD[start:end]
        parts.append(_run_one_expert(rows, expert, banks, original))
        start = end
    dtype = parts[0].dtype
    weights_TK = routing.weights_TK.to(dtype)
    out_AD = torch.cat([part.to(dtype) for part in parts])
    if is_one:
        return weights_TK[:, order_A] @ out_AD
    row_A = torch.empty(len(order_A), dtype=torch.long)
    row_A[order_A] = torch.arange(len(order_A))
    out_TKD = out_AD[row_A].view(num_tokens, top_k, -1)
    return torch.bmm(weights_TK.unsqueeze(1), out_TKD).squeeze(1)


def _run_one_expert(
    x_TD: Tensor, expert: int, banks: Sequence[ExpertBank], original: OriginalExpert | None
) -> Tensor:
    if original is not None:
        if expert == 0:
            return original.run(x_TD)
        expert -= 1
    for bank in banks:
        if expert < len(bank.weight_in):
            return bank.run_one(x_TD, expert)
        expert -= len(bank.weight_in)
    raise AssertionError("the router chose an expert that is not there")


def _dispatch_sorted(
    x_TD: Tensor,
    routing: Routing,
    banks: Sequence[ExpertBank],
    original: OriginalExpert | None,
) -> Tensor:
    """Sort assignments by expert; the host knows how many each expert has."""
    top_k, num_experts = routing.experts_TK.shape[1], routing.logits_TE.shape[1]
    expert_A = routing.experts_TK.flatten()
    row_A = _inverse(expert_A.argsort(stable=True))
    counts = expert_A.bincount(minlength=num_experts).tolist()
    sizes = [_round_up(count) for count in counts]
    padding = itertools.accumulate([size - n for size, n in zip(sizes, counts, strict=True)])
    layout = _add_padding(row_A, expert_A, [0, *padding], top_k)
    rows_RD = layout.gather(x_TD)
    parts: list[Tensor] = []
    start = 0
    if original is not None:
        start, *sizes = sizes
        parts.append(original.run(rows_RD[:start]))
    for bank in banks:
        bank_sizes, sizes = sizes[: len(bank.weight_in)], sizes[len(bank.weight_in) :]
        end = start + sum(bank_sizes)
        ends_N = torch.tensor([*itertools.accumulate(bank_sizes)], dtype=torch.int32)
        parts.append(bank(rows_RD[start:end], ends_N))
        start = end
    dtype = parts[0].dtype
    out_RD = parts[0] if len(parts) == 1 else torch.cat([part.to(dtype) for part in parts])
    return layout.combine(out_RD, routing.weights_TK)


def _round_up(count: int) -> int:
    """Return a number of rows, at most an eighth larger, out of a small set of numbers.

    A processor's library makes a kernel for every new shape and keeps it: with counts as routers
    have them that costs a tenth of the time and hundreds of megabytes (docs/performance.md).
    """
    step = 1 << max(0, count.bit_length() - 4)
    return count if count < _FEW_TOKENS else -(-count // step) * step


def _add_padding(row_A: Tensor, expert_A: Tensor, padding: Sequence[int], top_k: int) -> Layout:
    """Leave room for padding after each expert's rows.

    Args:
        row_A: The row of each assignment, without padding.
        expert_A: Its expert.
        padding: Rows of padding before those of each expert, and in all; (E + 1,).
        top_k: K.
    """
    if padding[-1] == 0:
        return Layout(top_k=top_k, row_A=row_A, assignment_R=_inverse(row_A))
    row_A = row_A + torch.tensor(padding, device=row_A.device)[expert_A]
    num_rows = len(row_A) + padding[-1]
    assignment_R = row_A.new_zeros(num_rows)  # padding holds a copy of the first token
    assignment_R[row_A] = torch.arange(len(row_A), device=row_A.device)
    is_padding_R = torch.ones(num_rows, dtype=torch.bool, device=row_A.device)
    is_padding_R[row_A] = False
    return Layout(top_k=top_k, row_A=row_A, assignment_R=assignment_R, is_padding_R=is_padding_R)


def _dispatch_without_host_sync(
    x_TD: Tensor, routing: Routing, bank: ExpertBank, original: OriginalExpert | None
) -> Tensor:
    """Put new experts' rows first, and the original's at the start of T rows of their own.

    Nothing is copied to the host, which therefore runs ahead of the device: either block has room
    for all rows that it might get, and products stop where a tensor says that they end.
    """
    num_tokens, top_k = routing.experts_TK.shape
    num_experts = routing.logits_TE.shape[1]
    expert_A = routing.experts_TK.flatten()
    if original is not None:
        expert_A = (expert_A - 1) % num_experts  # expert 0 last
    order_A = expert_A.argsort(stable=True)
    row_A = _inverse(order_A)
    ends_E = torch.searchsorted(
        expert_A[order_A], torch.arange(num_experts, device=x_TD.device), right=True
    ).to(torch.int32)
    if original is None:
        layout = Layout(top_k=top_k, row_A=row_A, assignment_R=order_A)
        return layout.combine(bank(layout.gather(x_TD), ends_E), routing.weights_TK)
    num_assigned = num_tokens * top_k
    ends_N, num_new = ends_E[:-1], ends_E[-2]
    # The sorted assignments end with the original's; backwards they begin with them.
    assignment_R = torch.cat([order_A, order_A.flip(0)[:num_tokens]])
    is_original_A = row_A >= num_new
    row_A = torch.where(is_original_A, 2 * num_assigned - 1 - row_A, row_A)
    rows = torch.arange(len(assignment_R), device=x_TD.device)
    is_padding_R = torch.where(
        rows < num_assigned, rows >= num_new, rows >= 2 * num_assigned - num_new
    )
    layout = Layout(top_k=top_k, row_A=row_A, assignment_R=assignment_R, is_padding_R=is_padding_R)
    rows_RD = layout.gather(x_TD)
    new_AD = bank(rows_RD[:num_assigned], ends_N)
    original_TD = original.run_first(rows_RD[num_assigned:], num_assigned - num_new.view(1))
    out_RD = torch.cat([new_AD, original_TD.to(new_AD.dtype)])
    return layout.combine(out_RD, routing.weights_TK)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which row holds which assignment.

    Attributes:
        top_k: K.
        row_A: The row of each assignment.
        assignment_R: The assignment of each row.
        is_padding_R: Rows that hold no assignment; None where all do.
    """

    top_k: int
    row_A: Tensor
    assignment_R: Tensor
    is_padding_R: Tensor | None = None

    def gather(self, x_TD: Tensor) -> Tensor:
        """Copy each token to the rows of its assignments, (R, D)."""
        return _Gather.apply(x_TD, self.assignment_R // self.top_k, self.row_A, self.top_k)

    def combine(self, out_RD: Tensor, weights_TK: Tensor) -> Tensor:
        """Return each token's sum over its K rows, by weight, (T, D)."""
        row_TK = self.row_A.view_as(weights_TK)
        return _Combine.apply(out_RD, weights_TK, row_TK, self.assignment_R, self.is_padding_R)


class _Gather(torch.autograd.Function):
    """Copies tokens to rows; the gradient gathers them back instead of scattering."""

    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, token_R: Tensor, row_A: Tensor, top_k: int) -> Tensor:
        ctx.save_for_backward(row_A)
        ctx.shape = (len(x_TD), top_k, x_TD.shape[1])
        return x_TD.index_select(0, token_R)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (row_A,) = ctx.saved_tensors
        gradient_AD = gradients[0].index_select(0, row_A)
        return gradient_AD.view(ctx.shape).sum(dim=1), None, None, None


class _Combine(torch.autograd.Function):
    """Gathers rows and sums them by weight, K at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        out_RD: Tensor,
        weights_TK: Tensor,
        row_TK: Tensor,
        assignment_R: Tensor,
        is_padding_R: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(out_RD, weights_TK, row_TK, assignment_R, is_padding_R)
        weights_TK = weights_TK.to(out_RD.dtype)
        y_TD = out_RD.index_select(0, row_TK[:, 0]) * weights_TK[:, :1]
        for k in range(1, row_TK.shape[1]):
            out_TD = out_RD.index_select(0, row_TK[:, k])
            y_TD = torch.addcmul(y_TD, out_TD, weights_TK[:, k : k + 1])
        return y_TD

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        out_RD, weights_TK, row_TK, assignment_R, is_padding_R = ctx.saved_tensors
        gradient_TD = gradients[0]
        grad_weights = grad_out = None
        gradient_RD = gradient_TD.index_select(0, assignment_R // weights_TK.shape[1])
        if ctx.needs_input_grad[1]:
            grad_weight_R = (gradient_RD * out_RD).sum(dim=-1, dtype=weights_TK.dtype)
            grad_weights = grad_weight_R[row_TK]
        if ctx.needs_input_grad[0]:
            weight_R1 = weights_TK.flatten()[assignment_R].unsqueeze(-1)
            grad_out = gradient_RD * weight_R1.to(gradient_RD.dtype)
            if is_padding_R is not None:
                grad_out = grad_out.masked_fill(is_padding_R.unsqueeze(-1), 0)
        return grad_out, grad_weights, None, None, None


def _inverse(order_A: Tensor) -> Tensor:
    row_A = torch.empty_like(order_A)
    row_A[order_A] = torch.arange(len(order_A), device=order_A.device)
    return row_A
