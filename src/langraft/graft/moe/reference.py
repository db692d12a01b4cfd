"""The plain forward pass of a layer with experts: read this first.

No sorting, no kernels, no guard, no second expansion. Every fast path is tested against it
(tests/graft/moe), and exported folders that no standard class holds compute with this very text,
so it imports torch alone.

Shape suffixes: T = tokens, D = model width, E = experts the router chooses among, K = top-k.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Expert = Callable[[Tensor], Tensor]


def moe_lpr(
    x_TD: Tensor, original: Expert, new: Sequence[Expert], router_ED: Tensor, top_k: int
) -> Tensor:
    """MoE-LPR (arXiv:2408.11396, eq. 2-4): the original FFN is expert 0 of the router's choice."""
    experts_TK, weights_TK = choose_experts(score_experts(x_TD, router_ED), top_k)
    return mix_experts(x_TD, [original, *new], experts_TK, weights_TK)


def moe_ct(
    x_TD: Tensor,
    original: Expert,
    new: Sequence[Expert],
    router_ED: Tensor,
    top_k: int,
    opening_T1: Tensor,
) -> Tensor:
    """MoE-CT (arXiv:2407.00875): a gate fuses the original FFN with a branch of new experts."""
    experts_TK, weights_TK = choose_experts(score_experts(x_TD, router_ED), top_k)
    branch_TD = mix_experts(x_TD, new, experts_TK, weights_TK)
    return fuse(original(x_TD), branch_TD, opening_T1)


def score_experts(x_TD: Tensor, router_ED: Tensor) -> Tensor:
    """Return the router's logits, (T, E), in float32: two nearly alike decide between experts."""
    return torch.nn.functional.linear(x_TD.float(), router_ED.float())


def choose_experts(logits_TE: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Return each token's K experts, best first, and their weights, which sum to 1.

    Softmax over all experts, kept where chosen and renormalised, is softmax over the chosen.
    """
    top_TK, experts_TK = logits_TE.topk(top_k, dim=-1)
    return experts_TK, top_TK.softmax(dim=-1)


def mix_experts(
    x_TD: Tensor, experts: Sequence[Expert], experts_TK: Tensor, weights_TK: Tensor
) -> Tensor:
    """Return each token's sum over its K experts, by weight: y = sum_k w_k F_k(x)."""
    y_TD = torch.zeros_like(x_TD)
    for number, expert in enumerate(experts):
        rows, places = (experts_TK == number).nonzero(as_tuple=True)
        out = expert(x_TD[rows])
        weight = weights_TK[rows, places].unsqueeze(-1).to(out.dtype)
        y_TD.index_add_(0, rows, (out * weight).to(y_TD.dtype))
    return y_TD


def mix_all_experts(
    x_TD: Tensor, experts: Sequence[Expert], experts_TK: Tensor, weights_TK: Tensor
) -> Tensor:
    """Return what ``mix_experts`` does, by every expert on every token: no shape depends on it."""
    y_TD = torch.zeros_like(x_TD)
    for number, expert in enumerate(experts):
        weight_T1 = (weights_TK * (experts_TK == number)).sum(dim=-1, keepdim=True)
        y_TD = y_TD + expert(x_TD) * weight_T1.to(x_TD.dtype)
    return y_TD


def fuse(original_TD: Tensor, branch_TD: Tensor, opening_T1: Tensor) -> Tensor:
    """Return ``b + g (m - b)``: how much of the branch comes through beside the original."""
    return original_TD + opening_T1.to(original_TD.dtype) * (branch_TD - original_TD)
