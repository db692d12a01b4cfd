"""An FFN that became a mixture of experts and kept its signature.

Shape suffixes: T = tokens, D = model width, K = top-k, E = experts, A = T * K assignments of
tokens to experts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from langraft.families.sites import FFNSite, run_ffn
from langraft.graft.context import GraftContext
from langraft.graft.experts import ExpertBank
from langraft.graft.gate import FixedGate, SigmoidGate
from langraft.graft.router import Routing, TopKRouter


class ExpandedFFN(nn.Module):
    """The original FFN, untouched in its own storage, and new experts that begin as its copies.

    Without a gate the original is expert 0 of the router's choice (MoE-LPR, arXiv:2408.11396,
    section 3.1). With a gate it stands beside the router, which chooses among new experts only,
    and the gate fuses the two (MoE-CT, arXiv:2407.00875). Since new experts start as copies and
    weights sum to 1, either computes the base's function before training, whatever the router
    and the gate say.
    """

    def __init__(
        self,
        site: FFNSite,
        *,
        num_new_experts: int,
        num_competing: int,
        top_k: int,
        context: GraftContext,
        gate: FixedGate | SigmoidGate | None = None,
    ) -> None:
        """Wrap the FFN of a site; the caller puts the result in its place.

        Args:
            site: Where the FFN is.
            num_new_experts: N.
            num_competing: E, what the router chooses among: N + 1, or N beside a gate.
            top_k: K, of these.
            context: The model's recorder, guard and seed.
            gate: Fuses the original with the experts where it does not compete with them.
        """
        super().__init__()
        self.layer = site.layer
        self.base = site.module
        self.experts = ExpertBank(site, num_new_experts)
        self.router = TopKRouter(site.model_width, num_competing, top_k, context.seed + site.layer)
        self.gate = gate
        self.takes_residual = site.takes_residual
        self._context = context

    def forward(self, hidden: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return the fused output of each token's experts, in the shape (..., D) it came in.

        Args:
            hidden: (..., D).
            residual: Added to the output, for an FFN that does so itself (BLOOM).
        """
        inputs = (hidden,) if residual is None else (hidden, residual)
        return self._context.guard.choose(lambda: self.base(*inputs), lambda: self._mix(*inputs))

    def _mix(self, hidden: Tensor, residual: Tensor | None = None) -> Tensor:
        x_TD = hidden.reshape(-1, hidden.shape[-1])
        routing = self.router(x_TD)
        if self.gate is not None:
            routing = replace(routing, gating=self.gate(x_TD))
        self._context.recorder.write(self.layer, routing)
        if self.layer in self._context.new_share:
            self._context.new_share[self.layer] = routing.new_share_T()
        if self.gate is None:
            y_TD = dispatch(x_TD, routing, self.experts, base=self._run_base)
        else:
            y_TD = self._fuse(x_TD, routing)
        y = y_TD.reshape(hidden.shape)
        return y if residual is None else y + residual

    def _run_base(self, x_TD: Tensor) -> Tensor:
        return run_ffn(self.base, x_TD, takes_residual=self.takes_residual)

    def _fuse(self, x_TD: Tensor, routing: Routing) -> Tensor:
        """Return ``b + g (m - b)``; where a hard gate is closed, b itself, and no expert runs.

        While gradients are wanted the branch runs for closed tokens too: what it would have done
        is how their gate learns to open.
        """
        assert routing.gating is not None
        base_TD = self._run_base(x_TD)
        open_T = routing.gating.open_T
        if torch.is_grad_enabled() or not getattr(self.gate, "is_hard", False):
            branch_TD = dispatch(x_TD, routing, self.experts)
            return base_TD + open_T.unsqueeze(-1).to(base_TD.dtype) * (branch_TD - base_TD)
        rows = open_T.nonzero().squeeze(-1)
        chosen = Routing(
            routing.logits_TE[rows], routing.experts_TK[rows], routing.weights_TK[rows]
        )
        branch_TD = dispatch(x_TD[rows], chosen, self.experts)
        return base_TD.index_copy(0, rows, branch_TD.to(base_TD.dtype))


def dispatch(
    x_TD: Tensor,
    routing: Routing,
    experts: ExpertBank,
    base: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Send each token to its K experts and sum their outputs by weight; no token is dropped.

    Equals the plain loop ``y[t] = sum_k weights[t, k] * expert[experts[t, k]](x[t])``. Forward and
    backward only gather, in a fixed order, so equal inputs give equal bits.

    Args:
        x_TD: Tokens.
        routing: Their experts and weights.
        experts: Serves experts 1.. beside a base, 0.. without one.
        base: Serves expert 0.
    """
    num_tokens, top_k = routing.experts_TK.shape
    num_experts = routing.logits_TE.shape[1]
    expert_A = routing.experts_TK.flatten()
    order_A = expert_A.argsort(stable=True)  # assignments sorted by expert
    place_A = torch.empty_like(order_A)  # where each assignment went
    place_A[order_A] = torch.arange(len(order_A), device=order_A.device)
    counts_E = expert_A.bincount(minlength=num_experts)
    sorted_AD = _ToExperts.apply(x_TD, order_A, place_A, top_k)
    if base is None:
        out_AD = experts(sorted_AD, counts_E.cumsum(0).to(torch.int32))
    else:
        num_base = int(counts_E[0])  # the one host sync of a layer: the base needs its own slice
        base_out = base(sorted_AD[:num_base])
        ends_N = counts_E[1:].cumsum(0).to(torch.int32)
        new_out = experts(sorted_AD[num_base:], ends_N)
        out_AD = torch.cat([base_out, new_out.to(base_out.dtype)])
    out_TKD = _FromExperts.apply(out_AD, order_A, place_A).view(num_tokens, top_k, x_TD.shape[1])
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
