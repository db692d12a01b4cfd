"""An FFN that became a mixture of experts and kept its signature.

Shape suffixes: T = tokens, D = model width, K = top-k, E = experts (0 is the frozen original).
"""

from __future__ import annotations

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

    Equals the plain loop ``y[t] = sum_k weights[t, k] * expert[experts[t, k]](x[t])``. Sums run
    in a fixed order, so equal inputs give equal bits.
    """
    num_tokens, top_k = routing.experts_TK.shape
    num_experts = routing.logits_TE.shape[1]
    order = routing.experts_TK.flatten().argsort(stable=True)  # assignments sorted by expert
    counts_E = routing.experts_TK.flatten().bincount(minlength=num_experts)
    num_base = int(counts_E[0])  # the one host sync of a layer: the base FFN needs its own slice
    sorted_x = x_TD[order // top_k]
    base_out = base(sorted_x[:num_base])
    ends_N = counts_E[1:].cumsum(0).to(torch.int32)
    new_out = experts(sorted_x[num_base:], ends_N)
    sorted_out = torch.cat([base_out, new_out.to(base_out.dtype)])
    place = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=x_TD.device))
    out_TKD = sorted_out[place].view(num_tokens, top_k, x_TD.shape[1])
    return (out_TKD * routing.weights_TK.unsqueeze(-1).to(out_TKD.dtype)).sum(dim=1)
