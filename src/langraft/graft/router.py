"""The router: which experts a token meets, and with what weight.

Shape suffixes: T = tokens, D = model width, E = experts (0 is the frozen original), K = top-k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Routing:
    """What the router decided.

    Attributes:
        logits_TE: Scores over all experts, float32.
        experts_TK: Chosen experts, best first.
        weights_TK: Their weights, positive, summing to 1, float32.
    """

    logits_TE: Tensor
    experts_TK: Tensor
    weights_TK: Tensor


class TopKRouter(nn.Module):
    """Softmax over all experts, then top-k, then renormalise (MoE-LPR, arXiv:2408.11396, eq. 2-4).

    One linear map without bias a layer, Xavier-normal, always in float32.
    """

    group: ClassVar[str] = "routers"

    def __init__(self, width: int, num_experts: int, top_k: int, seed: int) -> None:
        """Draw the weight (E, D) from its own generator, so that a graft is reproducible."""
        super().__init__()
        self.top_k = top_k
        weight = torch.empty(num_experts, width)
        nn.init.xavier_normal_(weight, generator=torch.Generator().manual_seed(seed))
        self.weight = nn.Parameter(weight)

    def forward(self, x_TD: Tensor) -> Routing:
        """Choose K experts for each token."""
        with torch.autocast(x_TD.device.type, enabled=False):
            logits_TE = nn.functional.linear(x_TD.float(), self.weight.float())
            top_logits_TK, experts_TK = logits_TE.topk(self.top_k, dim=-1)
            # Softmax over all, kept where chosen and renormalised, is softmax over the chosen.
            weights_TK = top_logits_TK.softmax(dim=-1)
        return Routing(logits_TE, experts_TK, weights_TK)
