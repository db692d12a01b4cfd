"""An FFN that became a mixture of experts and kept its signature.

Shape suffixes: T = tokens, D = model width, K = top-k, E = experts (0 is the frozen original),
A = T * K assignments of tokens to experts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from langraft.families.sites import FFNSite
from langraft.graft.experts import ExpertBank
from langraft.graft.recorder import RoutingRecorder
from langraft.graft.router import Routing, TopKRouter


class ExpandedFFN(nn.Module):
    """Expert 0 is the original FFN, untouched in its own storage; new experts stand beside it.

    MoE-LPR (arXiv:2408.11396, section 3.1). Since new experts start as copies and weights sum
    to 1, the layer computes the base's function before training, whatever the router says.
    """

    def __init__(
        self,
        site: FFNSite,
        *,
        num_new_experts: int,
        top_k: int,
        recorder: RoutingRecorder,
        seed: int,
    ) -> None:
        """Wrap the FFN of a site; the caller puts the result in its place."""
        super().__init__()
        self.layer = site.layer
        self.base = site.module
        self.experts = ExpertBank(site, num_new_experts)
        width = self.experts.weight_out.shape[1]
        self.router = TopKRouter(width, num_new_experts + 1, top_k, seed + site.layer)
        self._recorder = recorder

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the weighted sum of each token's experts, in the shape (..., D) it came in."""
        x_TD = hidden.reshape(-1, hidden.shape[-1])
        routing = self.router(x_TD)
        self._recorder.write(self.layer, routing.logits_TE)
        return dispatch(x_TD, routing, self.base, self.experts).reshape(hidden.shape)


def dispatch(x_TD: Tensor, routing: Routing, base: nn.Module, experts: ExpertBank) -> Tensor:
    """Send each token to its K experts and sum their outputs by weight; no token is dropped.

    Equals the plain loop ``y[t] = sum_k weights[t, k] * expert[experts[t, k]](x[t])``. Forward and
    backward only gather, in a fixed order, so equal inputs give equal bits.
    """
    num_tokens, top_k = routing.experts_TK.shape
    num_experts = routing.logits_TE.shape[1]
    expert_A = routing.experts_TK.flatten()
    order_A = expert_A.argsort(stable=True)  # assignments sorted by expert
    place_A = torch.empty_like(order_A)  # where each assignment went
    place_A[order_A] = torch.arange(len(order_A), device=order_A.device)
    counts_E = expert_A.bincount(minlength=num_experts)
    num_base = int(counts_E[0])  # the one host sync of a layer: the base FFN needs its own slice
    sorted_AD = _ToExperts.apply(x_TD, order_A, place_A, top_k)
    base_out = base(sorted_AD[:num_base])
    ends_N = counts_E[1:].cumsum(0).to(torch.int32)
    new_out = experts(sorted_AD[num_base:], ends_N)
    out_AD = _FromExperts.apply(torch.cat([base_out, new_out.to(base_out.dtype)]), order_A, place_A)
    out_TKD = out_AD.view(num_tokens, top_k, x_TD.shape[1])
    return (out_TKD * routing.weights_TK.unsqueeze(-1).to(out_TKD.dtype)).sum(dim=1)


class _ToExperts(torch.autograd.Function):
    """Copy each token to its K places; the gradient gathers them back instead of scattering."""

    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, order_A: Tensor, place_A: Tensor, top_k: int) -> Tensor:
        ctx.save_for_backward(place_A)
        ctx.top_k = top_k
        return x_TD.index_select(0, order_A // top_k)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (place_A,) = ctx.saved_tensors
        gradient_AD = gradients[0].index_select(0, place_A)
        return gradient_AD.view(-1, ctx.top_k, gradient_AD.shape[1]).sum(dim=1), None, None, None


class _FromExperts(torch.autograd.Function):
    """Put sorted rows back in the order of tokens; the gradient sorts them again."""

    @staticmethod
    def forward(ctx: Any, sorted_AD: Tensor, order_A: Tensor, place_A: Tensor) -> Tensor:
        ctx.save_for_backward(order_A)
        return sorted_AD.index_select(0, place_A)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (order_A,) = ctx.saved_tensors
        return gradients[0].index_select(0, order_A), None, None
