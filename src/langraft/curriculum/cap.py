"""The cap on repetition: no stream is read more than so many times in a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from langraft.core.errors import CorpusError
from langraft.core.streams import stream_name

_NOTHING = 1e-9  # a share that is rounding, not text


@dataclass(frozen=True, slots=True)
class Stretch:
    """Part of a stage in which shares stay, or move in straight lines.

    Attributes:
        start: Its first sample.
        stop: The sample after its last.
        before: Weights of streams at the start; one that is absent has none.
        after: Weights at the end.
    """

    start: int
    stop: int
    before: Mapping[str, float]
    after: Mapping[str, float]

    @property
    def num_samples(self) -> int:
        """Its length."""
        return self.stop - self.start


def cap_stretches(
    stretches: Sequence[Stretch],
    num_rows: Mapping[str, int],
    *,
    max_epochs: float,
    stage: str,
    sequence_length: int,
) -> list[Stretch]:
    """Lower the shares of streams that would be read too often and share out the rest.

    As in UniMax (arXiv:2304.09151, algorithm 1) a stream whose text runs out is held at what it
    has, and the others grow in proportion, which may bring the next one to its cap. The budget is
    spent stretch by stretch: what an earlier one reads is gone, what a later one wants does not
    count. In a ramp a capped stream keeps the form of its line. Whole rows are shared out later, so
    a stream may pass its cap by a row for each million of the stage, and by one in a short stage.

    Raises:
        CorpusError: when all streams of a stretch together have too little text for it.
    """
    left = {stream: max_epochs * rows for stream, rows in num_rows.items()}
    found: list[Stretch] = []
    for stretch in stretches:
        streams = dict.fromkeys((*stretch.before, *stretch.after))
        room = {stream: max(left[stream], 0) / stretch.num_samples for stream in streams}
        if sum(room.values()) < 1 - _NOTHING:
            raise _too_little(stretch, left, max_epochs, stage, sequence_length)
        ends = _normalised(stretch.before, streams), _normalised(stretch.after, streams)
        held = _hold(*ends, room)
        if held is None:
            raise _too_little(stretch, left, max_epochs, stage, sequence_length)
        if held != ends:
            stretch = replace(stretch, before=held[0], after=held[1])
        for stream in streams:
            mean = (held[0][stream] + held[1][stream]) / 2
            left[stream] -= mean * stretch.num_samples
        found.append(stretch)
    return found


def _hold(
    before: dict[str, float], after: dict[str, float], room: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]] | None:
    """Return shares at both ends whose means are within the room; None if there are none."""
    ends = (dict(before), dict(after))
    held = set[str]()
    while over := {
        stream: room[stream] / _mean(ends, stream)
        for stream in room
        if stream not in held and _mean(ends, stream) > room[stream] + _NOTHING
    }:
        for end in ends:
            end |= {stream: end[stream] * factor for stream, factor in over.items()}
        held |= over.keys()
        others = [stream for stream in room if stream not in held]
        means = {stream: _mean(ends, stream) for stream in others}
        for end in ends:
            rest = max(0.0, 1 - sum(end[stream] for stream in held))
            parts = {stream: end[stream] for stream in others}
            if not sum(parts.values()):
                parts = means  # at this end the held ones were alone
            total = sum(parts.values())
            if not total and rest > _NOTHING:
                return None
            end |= {stream: rest * part / total for stream, part in parts.items() if total}
    return ends


def _mean(ends: tuple[dict[str, float], dict[str, float]], stream: str) -> float:
    return (ends[0][stream] + ends[1][stream]) / 2


def _normalised(weights: Mapping[str, float], streams: Mapping[str, None]) -> dict[str, float]:
    total = sum(weights.values())
    return {stream: weights.get(stream, 0.0) / total for stream in streams}


def _too_little(
    stretch: Stretch,
    left: Mapping[str, float],
    max_epochs: float,
    stage: str,
    sequence_length: int,
) -> CorpusError:
    streams = dict.fromkeys((*stretch.before, *stretch.after))
    has = {stream: round(max(left[stream], 0) * sequence_length) for stream in streams}
    shown = ", ".join(f"{stream_name(s)} ({s}) {tokens:,}" for s, tokens in has.items())
    return CorpusError(
        f"Stage {stage!r} wants {stretch.num_samples * sequence_length:,} tokens from its sample "
        f"{stretch.start:,} on, but with max_epochs {max_epochs:g} there are only "
        f"{sum(has.values()):,} left to read: {shown}. Give more text, raise max_epochs, or lower "
        "the stage's tokens."
    )
