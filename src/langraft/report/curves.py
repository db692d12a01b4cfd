"""A stage's log, of any length, thinned to as many points as a chart can show."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langraft.core.errors import ArtifactError

Points = list[tuple[float, float]]  # tokens of the stage so far, value


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
    """Average a stage's log within equal stretches of tokens, one line in memory at a time.

    Args:
        path: ``log.jsonl``.
        num_tokens: Of the whole stage.
        num_points: Most points to return a language.

    Raises:
        ArtifactError: when the log is missing or damaged.
    """
    sums: dict[str, defaultdict[tuple[str, int], list[float]]] = {
        key: defaultdict(lambda: [0.0, 0.0, 0.0])
        for key in ("loss_by_language", "expert_0", "heldout")
    }
    try:
        with path.open(encoding="utf-8") as file:
            for line in file:
                record: dict[str, Any] = json.loads(line)
                tokens = record["tokens"]
                place = min(num_points - 1, int(num_points * tokens / (num_tokens + 1)))
                record.setdefault("heldout", {})  # measured at some steps only
                for key, bins in sums.items():
                    for code, value in record[key].items():
                        bin_ = bins[code, place]
                        bin_[0] += 1
                        bin_[1] += tokens
                        bin_[2] += value
    except FileNotFoundError:
        raise ArtifactError(f"{path} does not exist. Run the stage again.") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{path} is damaged ({type(error).__name__}: {error}). Delete its folder and run the "
            "recipe again; other finished steps are kept."
        ) from None
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
