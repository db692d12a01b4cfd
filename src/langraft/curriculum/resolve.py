"""Computes a stage's schedule from its settings and the number of tokens of each stream.

In three steps: weights of streams, from tokens and temperature; segments of the stage, from its
points; the cap on repetition (``epoch_cap.py``). A later point never influences an earlier segment,
so changing it does not change the tokens before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from langraft.core.settings.stage import Stage
from langraft.curriculum.epoch_cap import Segment, cap_segments
from langraft.curriculum.ramp import RampSchedule
from langraft.curriculum.schedule import MixtureSchedule, Schedule
from langraft.curriculum.sequence import SequenceSchedule


def resolve(
    stage: Stage,
    members: Mapping[str, Sequence[str]],
    tokens: Mapping[str, int],
    *,
    num_samples: int,
    sequence_length: int,
) -> Schedule:
    """Return the schedule of a stage.

    Args:
        stage: Settings of the stage.
        members: Streams of each key of its mixtures: itself, or all of ``*/wiki``.
        tokens: Tokens of every stream; used only where shares or the cap depend on them.
        num_samples: Rows of the stage.
        sequence_length: Tokens of a row.

    Raises:
        CorpusError: when ``max_epochs`` leaves too little text for the stage.
    """
    segments = _segments(stage, members, tokens, num_samples)
    if stage.max_epochs is not None:
        segments = cap_segments(
            segments,
            {stream: count // sequence_length for stream, count in tokens.items()},
            max_epochs=stage.max_epochs,
            stage=stage.name,
            sequence_length=sequence_length,
        )
    written = list(stage.mixtures.values())
    parts = [(segment.start, _schedule(segment, written)) for segment in segments]
    return parts[0][1] if len(parts) == 1 else SequenceSchedule(parts)


def stream_weights(
    mixture: Mapping[str, float],
    members: Mapping[str, Sequence[str]],
    tokens: Mapping[str, int],
    temperature: float | None,
) -> dict[str, float]:
    """Return the weights of a mixture's streams.

    Without a temperature, the weight of a source in all languages is divided by tokens, so that its
    text is read evenly. With one, a stream has its key's weight times tokens ^ (1 / temperature),
    as in multilingual pretraining (arXiv:1907.05019, section 4).
    """
    most = max((tokens.get(s, 0) for key in mixture for s in members[key]), default=0)
    weights: dict[str, float] = {}
    for key, weight in mixture.items():
        if temperature is not None:
            parts = {s: (tokens[s] / most) ** (1 / temperature) for s in members[key]}
        elif tuple(members[key]) == (key,):
            parts = {key: 1.0}
        else:
            total = sum(tokens[s] for s in members[key])
            parts = {s: tokens[s] / total for s in members[key]}
        for stream, part in parts.items():
            weights[stream] = weights.get(stream, 0.0) + weight * part
    return weights


def _segments(
    stage: Stage,
    members: Mapping[str, Sequence[str]],
    tokens: Mapping[str, int],
    num_samples: int,
) -> list[Segment]:
    """Divide a stage at its points; segments without a whole sample are dropped."""
    mixtures = [
        stream_weights(mixture, members, tokens, stage.temperature)
        for mixture in stage.mixtures.values()
    ]
    found: list[Segment] = []
    start, now = 0, mixtures[0]
    for point, weights in zip(stage.points, mixtures[1:], strict=True):
        stop = round(point.at * num_samples)
        found.append(Segment(start, stop, now, weights if stage.curriculum == "linear" else now))
        start, now = stop, weights
    found.append(Segment(start, num_samples, now, now))
    return [segment for segment in found if segment.num_samples > 0]


def _schedule(segment: Segment, written: Sequence[Mapping[str, float]]) -> Schedule:
    """Use the recipe's own weights in their exact ratio; computed ones have no small ratio."""
    if segment.before == segment.after and segment.before in written:
        return MixtureSchedule(segment.before)
    return RampSchedule(segment.before, segment.after, segment.num_samples)
