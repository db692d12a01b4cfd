"""The curves of a stage, read from its log and averaged down to the points of a chart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from langraft.core.files import read_json_lines

_ADVICE = "Delete its folder and run the recipe again; other finished steps are kept."

Points = list[tuple[float, float]]  # tokens of the stage so far, value


@dataclass(frozen=True, slots=True)
class _LogRecord:
    """What the curves need of a line of the log; ``heldout`` was measured at some steps only."""

    tokens: Annotated[int, Field(ge=0)]
    loss_by_language: dict[str, float]
    expert_0: dict[str, float]
    heldout: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class StageCurves:
    """Values by language over a stage's tokens.

    Attributes:
        loss: Nats a token.
        expert_0: Average router probability of the frozen expert; empty without experts.
        heldout: Bits per byte of held-out text; empty where it was not measured on the way.
    """

    loss: dict[str, Points]
    expert_0: dict[str, Points]
    heldout: dict[str, Points]


def read_curves(path: Path, num_tokens: int, num_points: int) -> StageCurves:
    """Average a stage's log over equal intervals of tokens, one line in memory at a time.

    Args:
        path: ``log.jsonl``.
        num_tokens: Length of the whole stage.
        num_points: Most points of a language.

    Raises:
        ArtifactError: when the log is missing or damaged.
    """
    sums: dict[str, defaultdict[tuple[str, int], list[float]]] = {
        key: defaultdict(lambda: [0.0, 0.0, 0.0])
        for key in ("loss_by_language", "expert_0", "heldout")
    }
    for record in read_json_lines(path, _LogRecord, advice=_ADVICE):
        place = min(num_points - 1, int(num_points * record.tokens / (num_tokens + 1)))
        for key, bins in sums.items():
            for code, value in getattr(record, key).items():
                bin_ = bins[code, place]
                bin_[0] += 1
                bin_[1] += record.tokens
                bin_[2] += value
    return StageCurves(
        loss=_points(sums["loss_by_language"]),
        expert_0=_points(sums["expert_0"]),
        heldout=_points(sums["heldout"]),
    )


def _points(bins: Mapping[tuple[str, int], list[float]]) -> dict[str, Points]:
    points: defaultdict[str, Points] = defaultdict(list)
    for (code, _), (times, tokens, value) in sorted(bins.items()):
        points[code].append((tokens / times, value / times))
    return dict(points)
