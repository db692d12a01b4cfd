"""The gate: how much of a branch of new experts comes through beside the frozen FFN.

    y = b + g(x) * (m - b),   b the original FFN, m the branch, 0 <= g <= 1

Shape suffixes: T = tokens, D = model width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

GateKind = Literal["fixed", "sigmoid", "hard"]


@dataclass(frozen=True, slots=True)
class Gating:
    """What a gate decided for each token.

    Attributes:
        logits_T: Its score, float32; sigmoid of it is the probability of the branch.
        open_T: g, 0..1, float32: what the output is fused with.
    """

    logits_T: Tensor
    open_T: Tensor


class FixedGate(nn.Module):
    """The same g for every token, for good; nothing to train."""

    is_hard: ClassVar[bool] = False

    def __init__(self, opening: float) -> None:
        """Keep g, strictly between 0 and 1."""
        super().__init__()
        self.opening = opening

    def forward(self, x_TD: Tensor) -> Gating:
        """Return g for every token."""
        score = math.log(self.opening / (1 - self.opening))
        logits_T = x_TD.new_full(x_TD.shape[:1], score, dtype=torch.float32)
        return Gating(logits_T, torch.full_like(logits_T, self.opening))


class SigmoidGate(nn.Module):
    """g = sigmoid(w.x + c), one linear map a layer in float32; starts at 1/2 for every token.

    At 1/2 because with g near 0 the experts would get no gradient.
    """

    langraft_group: ClassVar[str] = "gates"

    def __init__(self, width: int, *, is_hard: bool) -> None:
        """Start with w = 0 and c = 0.

        Args:
            width: D.
            is_hard: Round g to 0 or 1; the gradient is that of the sigmoid (straight-through).
        """
        super().__init__()
        self.is_hard = is_hard
        self.weight = nn.Parameter(torch.zeros(1, width))
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x_TD: Tensor) -> Gating:
        """Return g for every token; a hard gate opens where the score is not negative."""
        with torch.autocast(x_TD.device.type, enabled=False):
            scores_T1 = nn.functional.linear(x_TD.float(), self.weight.float(), self.bias.float())
            logits_T = scores_T1.squeeze(-1)
            soft_T = logits_T.sigmoid()
            if not self.is_hard:
                return Gating(logits_T, soft_T)
            rounded_T = (logits_T >= 0).float()
            return Gating(logits_T, rounded_T + (soft_T - soft_T.detach()))
