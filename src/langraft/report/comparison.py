"""The comparison of methods over seeds: a table, and a chart of gain against retention."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from langraft.core.files import write_text
from langraft.evaluate.scorecard import Scorecard
from langraft.export.next_commands import next_commands
from langraft.report import wording
from langraft.report.benchmarks import NO_SIGNAL_MEANING, Means, benchmark_rows
from langraft.report.origin import Origin
from langraft.report.scatter import Spot, scatter
from langraft.report.templating import template_environment


@dataclass(frozen=True, slots=True)
class Figure:
    """A column of the comparison: its name, its meaning, and how to read and format it."""

    name: str
    meaning: str
    read: Callable[[Scorecard], float | None]
    write: Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and range of a figure over seeds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class MethodRow:
    """One method: its measured figures by name, and of each seed the means of its benchmarks.

    ``texts`` has the names of the further texts that were scored.
    """

    key: str
    num_seeds: int
    spreads: dict[str, Spread]
    benchmarks: tuple[Means, ...] = ()
    texts: tuple[str, ...] = ()


FIGURES = (
    Figure("gain", "bits per byte, new languages", lambda c: c.gain, wording.bits),
    Figure("retention", "before / after, original", lambda c: c.retention, wording.percent),
    Figure("forgetting", "bits per byte, original", lambda c: c.forgetting, wording.bits),
    Figure("transfer", "gain, never trained on", lambda c: c.transfer, wording.bits),
    Figure("mixed", "gain, text that mixes languages", lambda c: c.mixed, wording.bits),
    Figure(
        "gain, guarded", "under the guard", lambda c: c.guarded and c.guarded.gain, wording.bits
    ),
    Figure(
        "retention, guarded",
        "under the guard",
        lambda c: c.guarded and c.guarded.retention,
        wording.percent,
    ),
    Figure("parameters", "held in memory", lambda c: c.parameters.total, wording.count),
    Figure("active", "met by a token", lambda c: c.parameters.active, wording.count),
    Figure("trained", "parameters", lambda c: c.parameters.trainable, wording.count),
    Figure("FLOPs", "of training", lambda c: c.training_flops, wording.scientific),
    Figure("seconds", "of training", lambda c: c.seconds, wording.count),
)


_AFTER_RETENTION = 2  # place of the figures of further texts


def _all_figures(texts: Iterable[str]) -> list[Figure]:
    """Return all figures that scorecards can have, those of these further texts among them."""
    of_texts = [figure for name in texts for figure in _text_figures(name)]
    return [*FIGURES[:_AFTER_RETENTION], *of_texts, *FIGURES[_AFTER_RETENTION:]]


def _text_figures(name: str) -> list[Figure]:
    def read(figure: str, *, guarded: bool = False) -> Callable[[Scorecard], float | None]:
        def figure_of(card: Scorecard) -> float | None:
            scored = card.guarded if guarded else card
            return getattr(scored.texts[name], figure) if scored and name in scored.texts else None

        return figure_of

    return [
        Figure(f"gain on {name}", "bits per byte, new languages", read("gain"), wording.bits),
        Figure(f"retention on {name}", "before / after", read("retention"), wording.percent),
        Figure(f"transfer on {name}", "gain, never trained on", read("transfer"), wording.bits),
        Figure(
            f"retention on {name}, guarded",
            "under the guard",
            read("retention", guarded=True),
            wording.percent,
        ),
    ]


def summarise(key: str, cards: Sequence[Scorecard]) -> MethodRow:
    """Return a method's figures over its seeds."""
    spreads: dict[str, Spread] = {}
    texts = tuple(dict.fromkeys(name for card in cards for name in card.texts))
    for figure in _all_figures(texts):
        values = [value for card in cards if (value := figure.read(card)) is not None]
        if values:
            spreads[figure.name] = Spread(fmean(values), min(values), max(values))
    return MethodRow(key, len(cards), spreads, tuple(Means.of(card) for card in cards), texts)


def shown_figures(rows: Sequence[MethodRow]) -> list[Figure]:
    """Return the figures that at least one method has."""
    texts = dict.fromkeys(name for row in rows for name in row.texts)
    return [f for f in _all_figures(texts) if any(f.name in row.spreads for row in rows)]


def figure_text(figure: Figure, row: MethodRow) -> str:
    """Format a figure: the mean, and in brackets the range over seeds if they differ."""
    spread = row.spreads.get(figure.name)
    if spread is None:
        return ""
    low, high = figure.write(spread.low), figure.write(spread.high)
    return figure.write(spread.mean) + ("" if low == high else f" ({low} to {high})")


def write_comparison(
    name: str,
    rows: Sequence[MethodRow],
    path: Path,
    *,
    origin: Origin | None = None,
    graft: Path | None = None,
) -> None:
    """Write the self-contained page of the comparison: the table and the chart.

    Args:
        name: Of the recipe.
        rows: The methods.
        path: Of the page.
        origin: When and where the methods were trained, where that is known.
        graft: Folder of the method that the page's commands are about.
    """
    candidates = _points(rows)
    best = _pareto(candidates)
    spots = [
        Spot(
            candidate.key,
            "front" if candidate.key in best else "beaten",
            (candidate.retention.mean, candidate.retention.low, candidate.retention.high),
            (candidate.gain.mean, candidate.gain.low, candidate.gain.high),
        )
        for candidate in candidates
    ]
    page = (
        template_environment()
        .get_template("comparison.html.j2")
        .render(
            name=name,
            num_seeds=max(row.num_seeds for row in rows),
            figures=shown_figures(rows),
            figure_text=figure_text,
            lost_nothing=_lost_nothing,
            origin=origin,
            commands=next_commands(graft) if graft else [],
            bits_per_byte=wording.BITS_PER_BYTE,
            rows=rows,
            chart=scatter(spots),
            best=wording.listing(sorted(best), len(best)),
            benchmarks=benchmark_rows({row.key: row.benchmarks for row in rows}),
            no_signal=NO_SIGNAL_MEANING,
            columns=[row.key for row in rows],
        )
    )
    write_text(path, page)


def _lost_nothing(figure: Figure, row: MethodRow) -> bool:
    """Return whether a figure is a retention of 100% or more."""
    is_known = figure.name.startswith("retention") and figure.name in row.spreads
    return is_known and row.spreads[figure.name].mean >= 1


@dataclass(frozen=True, slots=True)
class _Point:
    """A method in the chart; with a guard it has a second point."""

    key: str
    gain: Spread
    retention: Spread


def _points(rows: Sequence[MethodRow]) -> list[_Point]:
    return [
        _Point(row.key + said, row.spreads[f"gain{suffix}"], row.spreads[f"retention{suffix}"])
        for row in rows
        for suffix, said in (("", ""), (", guarded", " (guarded)"))
        if f"gain{suffix}" in row.spreads
    ]


def _pareto(candidates: Sequence[_Point]) -> set[str]:
    """Return the keys of the points that gained and that no other beats in gain and retention."""

    def beats(a: _Point, b: _Point) -> bool:
        pairs = [(a.gain.mean, b.gain.mean), (a.retention.mean, b.retention.mean)]
        return all(x >= y for x, y in pairs) and any(x > y for x, y in pairs)

    return {
        candidate.key
        for candidate in candidates
        if candidate.gain.mean > 0 and not any(beats(other, candidate) for other in candidates)
    }
