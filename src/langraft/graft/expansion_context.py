"""What the modules that one expansion put into a model have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass, field

from torch import Tensor

from langraft.graft.forward_passes import ForwardPasses
from langraft.graft.guard import LanguageGuard
from langraft.graft.moe.recorder import RoutingRecorder


@dataclass(slots=True)
class KeptTokens:
    """Which tokens of a forward pass reach the output matrix: all, unless its caller wants fewer.

    Attributes:
        of_sequence: Of each sequence, the tokens whose logits are wanted (generation: the last).
        of_batch: Of the whole batch, the tokens of one chunk of the loss: a slice or their places.
        is_in_model: Whether the output matrix is called by the model's own forward pass.
    """

    of_sequence: slice | Tensor = field(default_factory=lambda: slice(None))
    of_batch: slice | Tensor | None = None
    is_in_model: bool = False

    @property
    def are_known(self) -> bool:
        """Whether the output matrix is called for tokens of the pass that runs."""
        return self.is_in_model or self.of_batch is not None

    def choose(self, values_T: Tensor, num_sequences: int) -> Tensor:
        """Return the values of the kept tokens, given those of all T tokens."""
        if self.of_batch is not None:
            return values_T[self.of_batch]
        return values_T.view(num_sequences, -1)[:, self.of_sequence].flatten()

    @contextlib.contextmanager
    def chunk(self, of_batch: slice | Tensor) -> Generator[None]:
        """Keep one chunk of the batch inside."""
        before, self.of_batch = self.of_batch, of_batch
        try:
            yield
        finally:
            self.of_batch = before


@dataclass(frozen=True, slots=True, kw_only=True)
class GraftContext:
    """Recorder, guard and seed of one expansion of a grafted model.

    Attributes:
        recorder: Its layers write their routing here; side losses and adapters read it.
        guard: Which sequences must be answered as before the expansion.
        seed: Of the routers' and adapters' first weights, as the recipe gives it.
        number: How many expansions came before this one.
        kept: Which tokens of the pass reach the output matrix; all expansions share it.
        passes: The forward passes whose shares are of use; all expansions share it.
    """

    recorder: RoutingRecorder = field(default_factory=RoutingRecorder)
    guard: LanguageGuard = field(default_factory=LanguageGuard)
    seed: int = 0
    kept: KeptTokens = field(default_factory=KeptTokens)
    passes: ForwardPasses = field(default_factory=ForwardPasses)
    number: int = 0

    @classmethod
    def after(cls, earlier: GraftContext | None, seed: int) -> GraftContext:
        """Return the context of the expansion that follows another one, or of the first."""
        if earlier is None:
            return cls(seed=seed)
        return cls(seed=seed, number=earlier.number + 1, kept=earlier.kept, passes=earlier.passes)

    @property
    def first_weights(self) -> int:
        """The seed of first weights; it differs between expansions that have the same ``seed``."""
        return self.seed + 1_000_003 * self.number
