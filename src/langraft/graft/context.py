"""What all grafted modules of one model share."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass, field

from torch import Tensor

from langraft.graft.guard import LanguageGuard
from langraft.graft.recorder import RoutingRecorder


@dataclass(slots=True)
class KeptTokens:
    """Which tokens of a pass reach the output matrix: all, unless its caller wants fewer.

    Attributes:
        of_sequence: Of each sequence, those whose logits are wanted; generation wants the last.
        of_batch: Of the whole batch, those of one piece of the loss by chunks.
    """

    of_sequence: slice | Tensor = field(default_factory=lambda: slice(None))
    of_batch: slice | None = None

    def choose(self, values_T: Tensor, num_sequences: int) -> Tensor:
        """Return the kept tokens' part of what the whole batch has."""
        if self.of_batch is not None:
            return values_T[self.of_batch]
        return values_T.view(num_sequences, -1)[:, self.of_sequence].flatten()

    @contextlib.contextmanager
    def piece(self, of_batch: slice) -> Generator[None]:
        """Keep one piece of the batch inside."""
        self.of_batch = of_batch
        try:
            yield
        finally:
            self.of_batch = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GraftContext:
    """One for each expansion of a grafted model.

    Attributes:
        recorder: Where its layers write their routing.
        guard: Which sequences must be the base's own.
        seed: Of the routers' and adapters' first weights, as the recipe gives it.
        number: Expansions before this one.
        new_share: By layer that scales adapters above it, the share of each token's output that
            came from this expansion's experts in the current forward pass, (T,), without gradient.
        kept: Which tokens of the pass reach the output matrix; all expansions share it.
    """

    recorder: RoutingRecorder = field(default_factory=RoutingRecorder)
    guard: LanguageGuard = field(default_factory=LanguageGuard)
    seed: int = 0
    new_share: dict[int, Tensor] = field(default_factory=dict[int, Tensor])
    kept: KeptTokens = field(default_factory=KeptTokens)
    number: int = 0

    @property
    def first_weights(self) -> int:
        """What first weights are drawn from: another for each expansion of one seed."""
        return self.seed + 1_000_003 * self.number
