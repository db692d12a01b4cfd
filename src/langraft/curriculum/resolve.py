"""From what a stage asks for to its schedule, once it is known how much text there is.

Three steps, each a pure function: weights of streams, from tokens and temperature; stretches of the
stage, from its points; the cap on repetition (``cap.py``). Nothing that a later point says reaches
an earlier stretch, so changing it leaves the tokens before it as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from langraft.core.stage import Stage
from langraft.curriculum.cap import Stretch, cap_stretches
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
        stage: What the recipe asks for.
        members: What each key of its mixtures stands for: itself, or the streams of ``*/wiki``.
        tokens: How many every stream has; read only where shares or the cap depend on them.
        num_samples: Rows of the stage.
        sequence_length: Tokens of a row.

    Raises:
        CorpusError: when ``max_epochs`` leaves too little text for the stage.
    """
    stretches = _stretches(stage, members, tokens, num_samples)
    if stage.max_epochs is not None:
        stretches = cap_stretches(
            stretches,
            {stream: count // sequence_length for stream, count in tokens.items()},
            max_epochs=stage.max_epochs,
            stage=stage.name,
            sequence_length=sequence_length,
        )
    written = list(stage.mixtures.values())
    parts = [(stretch.start, _schedule(stretch, written)) for stretch in stretches]
    return parts[0][1] if len(parts) == 1 else SequenceSchedule(parts)


def stream_weights(
    mixture: Mapping[str, float],
    members: Mapping[str, Sequence[str]],
    tokens: Mapping[str, int],
    temperature: float | None,
) -> dict[str, float]:
    """Return the weights of a mixture's streams.

    Without a temperature a source in all languages shares its weight out by tokens, so its text is
    read evenly. With one, every stream weighs its key's weight times tokens ^ (1 / temperature):
    the sampling by temperature of multilingual pretraining (arXiv:1907.05019, section 4).
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


def _stretches(
    stage: Stage,
    members: Mapping[str, Sequence[str]],
    tokens: Mapping[str, int],
    num_samples: int,
) -> list[Stretch]:
    """Cut a stage at its points; a stretch without a whole sample is left out."""
    mixtures = [
        stream_weights(mixture, members, tokens, stage.temperature)
        for mixture in stage.mixtures.values()
    ]
    found: list[Stretch] = []
    start, now = 0, mixtures[0]
    for point, weights in zip(stage.points, mixtures[1:], strict=True):
        stop = round(point.at * num_samples)
        found.append(Stretch(start, stop, now, weights if stage.curriculum == "linear" else now))
        start, now = stop, weights
    found.append(Stretch(start, num_samples, now, now))
    return [stretch for stretch in found if stretch.num_samples > 0]


def _schedule(stretch: Stretch, written: Sequence[Mapping[str, float]]) -> Schedule:
    """Keep the exact ratios of weights that the recipe itself gives; computed ones have none."""
    if stretch.before == stretch.after and stretch.before in written:
        return MixtureSchedule(stretch.before)
    return RampSchedule(stretch.before, stretch.after, stretch.num_samples)
