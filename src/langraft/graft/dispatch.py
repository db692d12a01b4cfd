"""Dispatch: each token to its K experts and back, none dropped.

Equals the plain loop ``y[t] = sum_k weights[t, k] * expert[experts[t, k]](x[t])``. Assignments are
sorted by expert, every expert computes its rows, and each token sums what it finds at the places
of its assignments. Forward and backward only gather, in a fixed order, so equal inputs give equal
bits.

Shape suffixes: T = tokens, D = model width, K = top-k, E = experts, A = T * K assignments of
tokens to experts, R = rows that are laid out for experts, R >= A.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from langraft.graft.experts import ExpertBank
from langraft.graft.router import Routing

_FEW_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Base:
    """How expert 0 is computed.

    Attributes:
        run: The original FFN, (T, D) to (T, D).
        run_first: Computes the first rows alone, as many as a tensor says that the host need not
            read; None where the FFN's matrices are not plain ones.
    """

    run: Callable[[Tensor], Tensor]
    run_first: Callable[[Tensor, Tensor], Tensor] | None = None


def dispatch(
    x_TD: Tensor, routing: Routing, banks: Sequence[ExpertBank], base: Base | None = None
) -> Tensor:
    """Send each token to its K experts and sum their outputs by weight.

    Args:
        x_TD: Tokens.
        routing: Their experts and weights.
        banks: Serve experts 1.. beside a base, 0.. without one, one bank after the other.
        base: Serves expert 0.
    """
    is_blind = torch.compiler.is_compiling() or banks[0].has_grouped_mm(x_TD)
    if is_blind and len(banks) == 1 and (base is None or base.run_first is not None):
        return _without_looking(x_TD, routing, banks[0], base)
    is_generating = 0 < len(x_TD) <= _FEW_TOKENS and not torch.is_grad_enabled()
    if is_generating and not is_blind and all(bank.is_whole for bank in banks):
        return _few(x_TD, routing, banks, base)
    return _by_counts(x_TD, routing, banks, base)


def _few(x_TD: Tensor, routing: Routing, banks: Sequence[ExpertBank], base: Base | None) -> Tensor:
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
        parts.append(_run_one(rows, expert, banks, base))
        start = end
    dtype = parts[0].dtype
    weights_TK = routing.weights_TK.to(dtype)
    out_AD = torch.cat([part.to(dtype) for part in parts])
    if is_one:
        return weights_TK[:, order_A] @ out_AD
    place_A = torch.empty(len(order_A), dtype=torch.long)
    place_A[order_A] = torch.arange(len(order_A))
    return torch.bmm(weights_TK.unsqueeze(1), out_AD[place_A].view(num_tokens, top_k, -1)).squeeze(
        1
    )


def _run_one(x_TD: Tensor, expert: int, banks: Sequence[ExpertBank], base: Base | None) -> Tensor:
    if base is not None:
        if expert == 0:
            return base.run(x_TD)
        expert -= 1
    for bank in banks:
        if expert < len(bank.weight_in):
            return bank.run_one(x_TD, expert)
        expert -= len(bank.weight_in)
    raise AssertionError("the router chose an expert that is not there")


def _by_counts(
    x_TD: Tensor, routing: Routing, banks: Sequence[ExpertBank], base: Base | None
) -> Tensor:
    """Lay out one row an assignment and a few more; the host knows how many each expert has."""
    top_k, num_experts = routing.experts_TK.shape[1], routing.logits_TE.shape[1]
    expert_A = routing.experts_TK.flatten()
    place_A = _inverse(expert_A.argsort(stable=True))
    counts = expert_A.bincount(minlength=num_experts).tolist()
    sizes = [_round_up(count) for count in counts]
    gaps = itertools.accumulate([size - count for size, count in zip(sizes, counts, strict=True)])
    layout = _spread(place_A, expert_A, [0, *gaps], top_k)
    rows_RD = layout.lay_out(x_TD)
    parts: list[Tensor] = []
    start = 0
    if base is not None:
        start, *sizes = sizes
        parts.append(base.run(rows_RD[:start]))
    for bank in banks:
        of_bank, sizes = sizes[: len(bank.weight_in)], sizes[len(bank.weight_in) :]
        end = start + sum(of_bank)
        ends_N = torch.tensor([*itertools.accumulate(of_bank)], dtype=torch.int32)
        parts.append(bank(rows_RD[start:end], ends_N))
        start = end
    dtype = parts[0].dtype
    out_RD = parts[0] if len(parts) == 1 else torch.cat([part.to(dtype) for part in parts])
    return layout.sum_by_weight(out_RD, routing.weights_TK)


def _round_up(count: int) -> int:
    """Return a number of rows, at most an eighth larger, of which there are few.

    A processor's library makes a kernel for every new shape and keeps it: with counts as routers
    have them that costs a tenth of the time and hundreds of megabytes (docs/performance.md).
    """
    step = 1 << max(0, count.bit_length() - 4)
    return count if count < _FEW_TOKENS else -(-count // step) * step


def _spread(place_A: Tensor, expert_A: Tensor, gaps: Sequence[int], top_k: int) -> Layout:
    """Leave gaps of nobody's rows behind each expert's; they hold some token all the same."""
    if gaps[-1] == 0:
        return Layout(top_k=top_k, place_A=place_A, assignment_R=_inverse(place_A))
    place_A = place_A + torch.tensor(gaps, device=place_A.device)[expert_A]
    num_rows = len(place_A) + gaps[-1]
    assignment_R = place_A.new_zeros(num_rows)
    assignment_R[place_A] = torch.arange(len(place_A), device=place_A.device)
    is_nobodys_R = torch.ones(num_rows, dtype=torch.bool, device=place_A.device)
    is_nobodys_R[place_A] = False
    return Layout(
        top_k=top_k, place_A=place_A, assignment_R=assignment_R, is_nobodys_R=is_nobodys_R
    )


def _without_looking(x_TD: Tensor, routing: Routing, bank: ExpertBank, base: Base | None) -> Tensor:
    """Lay out new experts' rows first and the base's at the start of T rows of their own.

    Nothing is read back to the host, which therefore runs ahead of the device: either block has
    room for all rows that it might get, and products stop where a tensor says that they end.
    """
    num_tokens, top_k = routing.experts_TK.shape
    num_experts = routing.logits_TE.shape[1]
    expert_A = routing.experts_TK.flatten()
    if base is not None:
        expert_A = (expert_A - 1) % num_experts  # expert 0 last
    order_A = expert_A.argsort(stable=True)
    place_A = _inverse(order_A)
    ends_E = torch.searchsorted(
        expert_A[order_A], torch.arange(num_experts, device=x_TD.device), right=True
    ).to(torch.int32)
    if base is None:
        layout = Layout(top_k=top_k, place_A=place_A, assignment_R=order_A)
        out_AD = bank(layout.lay_out(x_TD), ends_E)
        return layout.sum_by_weight(out_AD, routing.weights_TK)
    num_assigned = num_tokens * top_k
    ends_N, num_new = ends_E[:-1], ends_E[-2]
    # The sorted assignments end with the base's; backwards they begin with them.
    assignment_R = torch.cat([order_A, order_A.flip(0)[:num_tokens]])
    is_base_A = place_A >= num_new
    place_A = torch.where(is_base_A, 2 * num_assigned - 1 - place_A, place_A)
    rows = torch.arange(len(assignment_R), device=x_TD.device)
    is_nobodys_R = torch.where(
        rows < num_assigned, rows >= num_new, rows >= 2 * num_assigned - num_new
    )
    layout = Layout(
        top_k=top_k, place_A=place_A, assignment_R=assignment_R, is_nobodys_R=is_nobodys_R
    )
    rows_RD = layout.lay_out(x_TD)
    new_AD = bank(rows_RD[:num_assigned], ends_N)
    assert base.run_first is not None
    base_TD = base.run_first(rows_RD[num_assigned:], num_assigned - num_new.view(1))
    out_RD = torch.cat([new_AD, base_TD.to(new_AD.dtype)])
    return layout.sum_by_weight(out_RD, routing.weights_TK)


@dataclass(frozen=True, slots=True)
class Layout:
    """Which row holds which assignment.

    Attributes:
        top_k: K.
        place_A: The row of each assignment.
        assignment_R: The assignment of each row.
        is_nobodys_R: Rows that hold no assignment; None where all do.
    """

    top_k: int
    place_A: Tensor
    assignment_R: Tensor
    is_nobodys_R: Tensor | None = None

    def lay_out(self, x_TD: Tensor) -> Tensor:
        """Copy each token to the rows of its assignments, (R, D)."""
        return _LayOut.apply(x_TD, self.assignment_R // self.top_k, self.place_A, self.top_k)

    def sum_by_weight(self, out_RD: Tensor, weights_TK: Tensor) -> Tensor:
        """Return each token's sum over its K rows, by weight, (T, D)."""
        place_TK = self.place_A.view_as(weights_TK)
        return _SumByWeight.apply(
            out_RD, weights_TK, place_TK, self.assignment_R, self.is_nobodys_R
        )


class _LayOut(torch.autograd.Function):
    """Copies tokens to rows; the gradient gathers them back instead of scattering."""

    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, token_R: Tensor, place_A: Tensor, top_k: int) -> Tensor:
        ctx.save_for_backward(place_A)
        ctx.shape = (len(x_TD), top_k, x_TD.shape[1])
        return x_TD.index_select(0, token_R)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (place_A,) = ctx.saved_tensors
        gradient_AD = gradients[0].index_select(0, place_A)
        return gradient_AD.view(ctx.shape).sum(dim=1), None, None, None


class _SumByWeight(torch.autograd.Function):
    """Gathers rows and sums them by weight, K at a time."""

    @staticmethod
    def forward(
        ctx: Any,
        out_RD: Tensor,
        weights_TK: Tensor,
        place_TK: Tensor,
        assignment_R: Tensor,
        is_nobodys_R: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(out_RD, weights_TK, place_TK, assignment_R, is_nobodys_R)
        weights_TK = weights_TK.to(out_RD.dtype)
        y_TD = out_RD.index_select(0, place_TK[:, 0]) * weights_TK[:, :1]
        for k in range(1, place_TK.shape[1]):
            y_TD = torch.addcmul(
                y_TD, out_RD.index_select(0, place_TK[:, k]), weights_TK[:, k : k + 1]
            )
        return y_TD

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        out_RD, weights_TK, place_TK, assignment_R, is_nobodys_R = ctx.saved_tensors
        gradient_TD = gradients[0]
        of_weights = of_rows = None
        gradient_RD = gradient_TD.index_select(0, assignment_R // weights_TK.shape[1])
        if ctx.needs_input_grad[1]:
            of_row_R = (gradient_RD * out_RD).sum(dim=-1, dtype=weights_TK.dtype)
            of_weights = of_row_R[place_TK]
        if ctx.needs_input_grad[0]:
            weight_R1 = weights_TK.flatten()[assignment_R].unsqueeze(-1)
            of_rows = gradient_RD * weight_R1.to(gradient_RD.dtype)
            if is_nobodys_R is not None:
                of_rows = of_rows.masked_fill(is_nobodys_R.unsqueeze(-1), 0)
        return of_rows, of_weights, None, None, None


def _inverse(order_A: Tensor) -> Tensor:
    place_A = torch.empty_like(order_A)
    place_A[order_A] = torch.arange(len(order_A), device=order_A.device)
    return place_A
