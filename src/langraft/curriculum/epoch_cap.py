"""The cap on repetition: no stream is read more than ``max_epochs`` times in a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from langraft.core.errors import CorpusError
from langraft.core.streams import stream_name

_TOLERANCE = 1e-9  # rounding error of a share


@dataclass(frozen=True, slots=True)
class Segment:
    """Samples of a stage over which shares are constant or change linearly.

    Attributes:
        start: First sample.
        stop: One past the last sample.
        before: Weights of streams at the start; an absent stream has weight 0.
        after: Weights at the end.
    """

    start: int
    stop: int
    before: Mapping[str, float]
    after: Mapping[str, float]

    @property
    def num_samples(self) -> int:
        """Length in samples."""
        return self.stop - self.start


def cap_segments(
    segments: Sequence[Segment],
    num_rows: Mapping[str, int],
    *,
    max_epochs: float,
    stage: str,
    sequence_length: int,
) -> list[Segment]:
    """Lower the shares of streams that would be read too often and raise the others'.

    As in UniMax (arXiv:2304.09151, algorithm 1) a stream whose text runs out is held at what it
    has, and the others grow in proportion, which may bring the next one to its cap. Each segment
    has the text that earlier ones left; later ones are not considered. In a ramp a capped share
    still changes linearly. Shares are rounded to whole rows later, so a stream may exceed its cap
    by a row for each million of the stage, and by one in a short stage.

    Raises:
        CorpusError: when all streams of a segment together have too little text for it.
    """
    left = {stream: max_epochs * rows for stream, rows in num_rows.items()}
    found: list[Segment] = []
    for segment in segments:
        streams = dict.fromkeys((*segment.before, *segment.after))
        room = {stream: max(left[stream], 0) / segment.num_samples for stream in streams}
        if sum(room.values()) < 1 - _TOLERANCE:
            raise _too_little_text(segment, left, max_epochs, stage, sequence_length)
        ends = _normalised(segment.before, streams), _normalised(segment.after, streams)
        held = _capped_shares(*ends, room)
        if held is None:
            raise _too_little_text(segment, left, max_epochs, stage, sequence_length)
        if held != ends:
            segment = replace(segment, before=held[0], after=held[1])
        for stream in streams:
            mean = (held[0][stream] + held[1][stream]) / 2
            left[stream] -= mean * segment.num_samples
        found.append(segment)
    return found


def _capped_shares(
    before: dict[str, float], after: dict[str, float], room: Mapping[str, float]
) -> tuple[dict[str, float], dict[str, float]] | None:
    """Return shares at both ends whose means are at most ``room``; None if there are none."""
    ends = (dict(before), dict(after))
    held = set[str]()
    while over := {
        stream: room[stream] / _mean(ends, stream)
        for stream in room
        if stream not in held and _mean(ends, stream) > room[stream] + _TOLERANCE
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
                parts = means  # at this end only held streams have a share
            total = sum(parts.values())
            if not total and rest > _TOLERANCE:
                return None
            end |= {stream: rest * part / total for stream, part in parts.items() if total}
    return ends


def _mean(ends: tuple[dict[str, float], dict[str, float]], stream: str) -> float:
    return (ends[0][stream] + ends[1][stream]) / 2


def _normalised(weights: Mapping[str, float], streams: Mapping[str, None]) -> dict[str, float]:
    total = sum(weights.values())
    return {stream: weights.get(stream, 0.0) / total for stream in streams}


def _too_little_text(
    segment: Segment,
    left: Mapping[str, float],
    max_epochs: float,
    stage: str,
    sequence_length: int,
) -> CorpusError:
    streams = dict.fromkeys((*segment.before, *segment.after))
    has = {stream: round(max(left[stream], 0) * sequence_length) for stream in streams}
    shown = ", ".join(f"{stream_name(s)} ({s}) {tokens:,}" for s, tokens in has.items())
    return CorpusError(
        f"Stage {stage!r} wants {segment.num_samples * sequence_length:,} tokens from its sample "
        f"{segment.start:,} on, but with max_epochs {max_epochs:g} there are only "
        f"{sum(has.values()):,} left to read: {shown}. Give more text, raise max_epochs, or lower "
        "the stage's tokens."
    )
