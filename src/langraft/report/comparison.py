"""The comparison of methods over seeds: one row each, and gain against retention as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from langraft.core.artifacts import write_text
from langraft.evaluate.scorecard import Guarded, Scorecard
from langraft.report import wording
from langraft.report.benchmarks import NEAR_CHANCE_MEANING, Means, benchmark_rows
from langraft.report.charts import make_axis
from langraft.report.templating import template_environment


@dataclass(frozen=True, slots=True)
class Figure:
    """A column of the comparison: its name, what it means, and how it is read and written."""

    name: str
    meaning: str
    read: Callable[[Scorecard], float | None]
    write: Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over seeds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """One method: its figures by name, those that were not measured left out.

    ``task_means`` are those of its benchmarks, of each seed.
    """

    key: str
    num_seeds: int
    spreads: dict[str, Spread]
    task_means: tuple[Means, ...] = ()


def _guarded(read: Callable[[Guarded], float | None]) -> Callable[[Scorecard], float | None]:
    return lambda card: None if card.guarded is None else read(card.guarded)


FIGURES = (
    Figure("gain", "bits per byte, new languages", lambda c: c.gain, wording.bits),
    Figure("retention", "before / after, original", lambda c: c.retention, wording.percent),
    Figure("forgetting", "bits per byte, original", lambda c: c.forgetting, wording.bits),
    Figure("transfer", "gain, never trained on", lambda c: c.transfer, wording.bits),
    Figure("mixed", "gain, text that mixes languages", lambda c: c.mixed, wording.bits),
    Figure("gain, guarded", "under the guard", _guarded(lambda g: g.gain), wording.bits),
    Figure(
        "retention, guarded", "under the guard", _guarded(lambda g: g.retention), wording.percent
    ),
    Figure("parameters", "held in memory", lambda c: c.parameters.total, wording.count),
    Figure("active", "met by a token", lambda c: c.parameters.active, wording.count),
    Figure("trained", "parameters", lambda c: c.parameters.trainable, wording.count),
    Figure("FLOPs", "of training", lambda c: c.training_flops, wording.scientific),
    Figure("seconds", "of training", lambda c: c.seconds, wording.count),
)


def summarise(key: str, cards: Sequence[Scorecard]) -> Row:
    """Return a method's figures over its seeds."""
    spreads: dict[str, Spread] = {}
    for figure in FIGURES:
        values = [value for card in cards if (value := figure.read(card)) is not None]
        if values:
            spreads[figure.name] = Spread(fmean(values), min(values), max(values))
    return Row(key, len(cards), spreads, tuple(card.task_means for card in cards))


def shown_figures(rows: Sequence[Row]) -> list[Figure]:
    """Return the figures that at least one method has."""
    return [f for f in FIGURES if any(f.name in row.spreads for row in rows)]


def cell(figure: Figure, row: Row) -> str:
    """Write a figure: the mean, and in brackets the range over seeds where they differ."""
    spread = row.spreads.get(figure.name)
    if spread is None:
        return ""
    low, high = figure.write(spread.low), figure.write(spread.high)
    return figure.write(spread.mean) + ("" if low == high else f" ({low} to {high})")


_LABEL_WIDTH, _LABEL_HEIGHT = 25.0, 4.5  # percent of the picture


def write_comparison(name: str, rows: Sequence[Row], path: Path) -> None:
    """Write the page: the table and the picture, self-contained."""
    places = _places(rows)
    x_axis = make_axis([100.0, *(100 * place.retention.low for place in places)], 5)
    y_axis = make_axis([0.0, *(place.gain.high for place in places)], 5)
    best = _pareto(places)
    points: list[dict[str, Any]] = [
        {
            "key": place.key,
            "x": x_axis.at(100 * place.retention.mean),
            "y": y_axis.at(place.gain.mean),
            "x_low": x_axis.at(100 * place.retention.low),
            "x_high": x_axis.at(100 * place.retention.high),
            "y_low": y_axis.at(place.gain.low),
            "y_high": y_axis.at(place.gain.high),
            "is_best": place.key in best,
        }
        for place in places
    ]
    _part_labels(points)
    figures = shown_figures(rows)
    page = (
        template_environment()
        .get_template("comparison.html.j2")
        .render(
            name=name,
            num_seeds=max(row.num_seeds for row in rows),
            figures=figures,
            rows=[(row, [cell(figure, row) for figure in figures]) for row in rows],
            points=points,
            x_axis=x_axis,
            y_axis=y_axis,
            best=sorted(best),
            benchmarks=benchmark_rows({row.key: row.task_means for row in rows}),
            near_chance=NEAR_CHANCE_MEANING,
            columns=[row.key for row in rows],
        )
    )
    write_text(path, page)


def _part_labels(points: list[dict[str, Any]]) -> None:
    """Say how far down, in percent of the picture, a label moves to stand free of those above."""
    placed: list[dict[str, Any]] = []
    for point in sorted(points, key=lambda point: -point["y"]):
        height = point["y"]
        for other in placed:
            if abs(other["x"] - point["x"]) < _LABEL_WIDTH:
                height = min(height, other["y"] - other["down"] - _LABEL_HEIGHT)
        point["down"] = point["y"] - height
        placed.append(point)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a method stands in the picture; under the guard it has a second place."""

    key: str
    gain: Spread
    retention: Spread


def _places(rows: Sequence[Row]) -> list[_Place]:
    return [
        _Place(row.key + said, row.spreads[f"gain{suffix}"], row.spreads[f"retention{suffix}"])
        for row in rows
        for suffix, said in (("", ""), (", guarded", " (guarded)"))
        if f"gain{suffix}" in row.spreads
    ]


def _pareto(places: Sequence[_Place]) -> set[str]:
    """Return those that no other beats in gain and retention at once."""

    def beats(a: _Place, b: _Place) -> bool:
        pairs = [(a.gain.mean, b.gain.mean), (a.retention.mean, b.retention.mean)]
        return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)

    return {place.key for place in places if not any(beats(other, place) for other in places)}
