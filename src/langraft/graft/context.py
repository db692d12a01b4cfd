"""What all grafted modules of one model share."""

from __future__ import annotations

from dataclasses import dataclass, field

from langraft.graft.guard import LanguageGuard
from langraft.graft.recorder import RoutingRecorder


@dataclass(frozen=True, slots=True, kw_only=True)
class GraftContext:
    """One for each grafted model.

    Attributes:
        recorder: Where its layers write their routing.
        guard: Which sequences must be the base's own.
        seed: Of the routers' first weights.
    """

    recorder: RoutingRecorder = field(default_factory=RoutingRecorder)
    guard: LanguageGuard = field(default_factory=LanguageGuard)
    seed: int = 0
