"""The router: which experts a token gets, and with what weight.

Shape suffixes: T = tokens, D = model width, E = experts, K = top-k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from langraft.graft.moe.gate import Gating


@dataclass(frozen=True, slots=True)
class Routing:
    """What one layer decided for each token.

    With the original FFN *inside* the router (MoE-LPR) it is expert 0 and ``gating`` is None;
    with the original *beside* the router (MoE-CT) experts are the new ones alone, and the gating
    says how much of their branch comes through.

    Attributes:
        logits_TE: Scores over all experts that compete, float32.
        experts_TK: Chosen experts, best first.
        weights_TK: Their weights, positive, summing to 1, float32.
        gating: How the branch of new experts is fused with the original beside it.
        num_kept: The first so many experts are not the newest: the original, and those of earlier
            expansions; 0 beside a gate.
    """

    logits_TE: Tensor
    experts_TK: Tensor
    weights_TK: Tensor
    gating: Gating | None = None
    num_kept: int = 1

    def log_original_T(self) -> Tensor:
        """Return the log-probability of the original and of earlier experts, (T,)."""
        if self.gating is not None:
            return nn.functional.logsigmoid(-self.gating.logits_T)
        return self.logits_TE.log_softmax(dim=-1)[:, : self.num_kept].logsumexp(dim=-1)

    def log_new_T(self) -> Tensor:
        """Return the log-probability of the newest experts together, (T,)."""
        if self.gating is not None:
            return nn.functional.logsigmoid(self.gating.logits_T)
        return self.logits_TE.log_softmax(dim=-1)[:, self.num_kept :].logsumexp(dim=-1)

    def original_rows_T(self) -> Tensor:
        """Return how many rows of the original FFN's input are a token's: 0 or 1, (T,)."""
        if self.gating is not None:
            return torch.ones_like(self.experts_TK[:, 0])
        return (self.experts_TK == 0).sum(dim=-1)

    def share_T(self, experts: range) -> Tensor:
        """Return the share of a token's output that some experts give, without gradient."""
        is_in_TK = (self.experts_TK >= experts.start) & (self.experts_TK < experts.stop)
        share_T = (self.weights_TK * is_in_TK).sum(dim=-1)
        return (share_T if self.gating is None else share_T * self.gating.open_T).detach()

    def shares_TE(self) -> Tensor:
        """Return each expert's share of a token's output, original first; rows sum to 1."""
        shares_TE = torch.zeros_like(self.logits_TE).scatter_(1, self.experts_TK, self.weights_TK)
        if self.gating is None:
            return shares_TE
        open_T1 = self.gating.open_T.unsqueeze(-1)
        return torch.cat([1 - open_T1, open_T1 * shares_TE], dim=-1)


class TopKRouter(nn.Module):
    """Scores experts, for softmax over all, top-k and renormalising (arXiv:2408.11396, eq. 2-4).

    One linear map without bias a layer, Xavier-normal, always in float32. After a second
    expansion the scores of a layer's routers stand side by side: one choice among all experts.
    """

    langraft_group: ClassVar[str] = "routers"

    def __init__(self, width: int, num_experts: int, seed: int) -> None:
        """Draw the weight (E, D) from its own generator, so that a graft is reproducible."""
        super().__init__()
        weight = torch.empty(num_experts, width)
        nn.init.xavier_normal_(weight, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter(weight)

    def forward(self, x_TD: Tensor) -> Tensor:
        """Return the scores of this router's experts, (T, E), float32."""
        with torch.autocast(x_TD.device.type, enabled=False):
            return nn.functional.linear(x_TD.float(), self.weight.float())


def route(logits_TE: Tensor, top_k: int, num_kept: int) -> Routing:
    """Choose K experts for each token by their scores."""
    top_logits_TK, experts_TK = logits_TE.topk(top_k, dim=-1)
    # Softmax over all, kept where chosen and renormalised, is softmax over the chosen.
    weights_TK = top_logits_TK.softmax(dim=-1)
    return Routing(logits_TE, experts_TK, weights_TK, num_kept=num_kept)
