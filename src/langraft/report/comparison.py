"""The comparison of methods over seeds: one row each, and gain against retention as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from langraft.core.artifacts import write_text
from langraft.evaluate.scorecard import Guarded, Scorecard
from langraft.report import wording
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
    """One method: its figures by name, those that were not measured left out."""

    key: str
    num_seeds: int
    spreads: dict[str, Spread]


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
    return Row(key, len(cards), spreads)


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


def write_comparison(name: str, rows: Sequence[Row], path: Path) -> None:
    """Write the page: the table and the picture, self-contained."""
    x_axis = make_axis([100.0, *(100 * row.spreads["retention"].mean for row in rows)], 5, 0.05)
    y_axis = make_axis([0.0, *(row.spreads["gain"].high for row in rows)], 5)
    best = _pareto(rows)
    points = [
        {
            "key": row.key,
            "x": x_axis.at(100 * row.spreads["retention"].mean),
            "y": y_axis.at(row.spreads["gain"].mean),
            "x_low": x_axis.at(100 * row.spreads["retention"].low),
            "x_high": x_axis.at(100 * row.spreads["retention"].high),
            "y_low": y_axis.at(row.spreads["gain"].low),
            "y_high": y_axis.at(row.spreads["gain"].high),
            "is_best": row.key in best,
        }
        for row in rows
    ]
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
            best=best,
        )
    )
    write_text(path, page)


def _pareto(rows: Sequence[Row]) -> set[str]:
    """Return the methods that no other beats in gain and retention at once."""

    def beats(a: Row, b: Row) -> bool:
        pairs = [(a.spreads[f].mean, b.spreads[f].mean) for f in ("gain", "retention")]
        return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)

    return {row.key for row in rows if not any(beats(other, row) for other in rows)}
