"""Loss spikes: how one is detected, and which samples are skipped because of it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from langraft.core.settings.training import Spikes

_DEVIATION = 1.4826  # median absolute deviation to standard deviation, of normal values
_LEAST_DEVIATION = 1e-3  # nats a token; below this every wobble of a flat loss would be a spike


@dataclass(frozen=True, slots=True, kw_only=True)
class Spike:
    """A step that was not taken.

    Attributes:
        step: Its number, from 1.
        loss: Nats a token.
        expected: Median loss of the steps before it, nats a token.
        rewound_to: Steps that were kept.
        samples: First sample left out and the one after the last.
    """

    step: int
    loss: float
    expected: float
    rewound_to: int
    samples: tuple[int, int]

    def __str__(self) -> str:
        return (
            f"Step {self.step}: loss {self.loss:.3f} where {self.expected:.3f} was expected. Back "
            f"to step {self.rewound_to}; the text in between "
            f"({self.samples[1] - self.samples[0]} rows) is left out."
        )

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Spike:
        """Read what was written as plain data."""
        known: dict[str, Any] = {**data, "samples": tuple(data["samples"])}
        return cls(**known)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchState:
    """What a checkpoint keeps of a watch: the losses of its window, and the spikes so far."""

    recent: list[float] = field(default_factory=list[float])
    spikes: list[Spike] = field(default_factory=list[Spike])


class SpikeWatch:
    """Detects loss spikes by the losses before them, and remembers the spikes so far.

    PaLM (arXiv:2204.02311, section 5.1) went back about 100 steps by hand and left out 200 to 500
    batches; here the last checkpoint is gone back to, and what was read since is left out. The
    rule, a distance from the running median in robust standard deviations, is ours.
    """

    def __init__(self, settings: Spikes) -> None:
        """Start with an empty window; before it is full nothing counts as a spike."""
        self.settings = settings
        self.spikes: list[Spike] = []
        self._recent: deque[float] = deque(maxlen=settings.window)

    @property
    def expected(self) -> float:
        """Median loss of the window; NaN before it is full."""
        is_full = len(self._recent) == self.settings.window
        return median(self._recent) if is_full else math.nan

    @property
    def left_out(self) -> Sequence[range]:
        """Samples whose text is not to be read."""
        return [range(*spike.samples) for spike in self.spikes]

    def is_spike(self, loss: float) -> bool:
        """Say whether a loss lies too far above the window."""
        expected = self.expected
        if math.isnan(expected):
            return False
        deviation = _DEVIATION * median(abs(each - expected) for each in self._recent)
        return loss > expected + self.settings.deviations * max(deviation, _LEAST_DEVIATION)

    def add(self, loss: float) -> None:
        """Remember the loss of a step that was taken."""
        self._recent.append(loss)

    def state(self) -> WatchState:
        """Return what a checkpoint keeps."""
        return WatchState(recent=list(self._recent), spikes=list(self.spikes))

    def restore(self, state: WatchState | None) -> None:
        """Restore the state of a checkpoint, or start anew where it has none."""
        state = state or WatchState()
        self._recent.clear()
        self._recent.extend(state.recent)
        self.spikes = list(state.spikes)
