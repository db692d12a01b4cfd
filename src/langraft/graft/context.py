"""What all grafted modules of one model share."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from langraft.graft.guard import LanguageGuard
from langraft.graft.recorder import RoutingRecorder


@dataclass(frozen=True, slots=True, kw_only=True)
class GraftContext:
    """One for each grafted model.

    Attributes:
        recorder: Where its layers write their routing.
        guard: Which sequences must be the base's own.
        seed: Of the routers' first weights.
        new_share: By layer that scales adapters above it, the share of each token's output that
            came from new experts in the current forward pass, (T,), without gradient.
    """

    recorder: RoutingRecorder = field(default_factory=RoutingRecorder)
    guard: LanguageGuard = field(default_factory=LanguageGuard)
    seed: int = 0
    new_share: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
