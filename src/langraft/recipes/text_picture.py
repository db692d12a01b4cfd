"""The picture of a plan: shares of all streams over the run, stage after stage."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from langraft.core.artifacts import explain_disk_errors
from langraft.core.streams import stream_name
from langraft.recipes.text_plan import TextPlan
from langraft.report.charts import segments
from langraft.report.wording import count, share_range

# Ten hues, dark and then light, so that neighbours in a stack differ in hue.
_COLOURS = (
    "#3b6fb6", "#e08a2c", "#3f9e58", "#c8474b", "#8262a8", "#8a6246", "#d36fae", "#7c7c7c",
    "#a8a432", "#2fa4b5", "#a6c1e6", "#f6cb98", "#a3d6a8", "#eea6a4", "#c7b5de", "#cdb3a3",
    "#f0bcdc", "#c6c6c6", "#dcdb92", "#a2dbe4",
)  # fmt: skip
_POINTS = 600  # of a stage
_LINE = 4.2  # percent of the height that a label needs, at least
_INSIDE = 5.0  # percent of the height from which a label stands in its area


def draw_text(plan: TextPlan, title: str, path: Path) -> None:
    """Draw a plan as a PNG.

    Stages stand side by side; a short one is drawn wider than its tokens so that it can be read.

    Raises:
        ArtifactError: when the file cannot be written.
    """
    streams = plan.streams
    figure = Figure(figsize=(11, max(5.0, 1.4 + 0.24 * len(streams))), layout="constrained")
    axes: Any = figure.subplots()
    x, heights = _curves(plan)
    edges = np.vstack([np.zeros(len(x)), np.cumsum(heights, axis=0)])
    for number, stream in enumerate(streams):
        colour = _COLOURS[number % len(_COLOURS)]
        hatch = None if number < len(_COLOURS) else "///"
        axes.fill_between(
            x,
            edges[number],
            edges[number + 1],
            color=colour,
            edgecolor="white",
            linewidth=0.6,
            hatch=hatch,
        )
        _label_inside(axes, x, edges[number], edges[number + 1], stream)
    _label_beside(axes, plan, edges[:, -1])
    _frame(axes, plan)
    axes.set_title(title, loc="left", fontsize=12, pad=24)
    path.parent.mkdir(parents=True, exist_ok=True)
    with explain_disk_errors(path.parent):
        FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def _curves(plan: TextPlan) -> tuple[Any, Any]:
    """Return places from 0 to 100, and shares in percent, (streams, places)."""
    x: list[float] = []
    rows: list[list[float]] = []
    layout = segments([(stage.name, stage.tokens) for stage in plan.stages])
    for stage, segment in zip(plan.stages, layout, strict=True):
        for part in np.linspace(0, 1, _POINTS):
            shares = stage.shares(float(part))
            x.append(segment.left + segment.width * float(part))
            rows.append([100 * shares.get(stream, 0.0) for stream in plan.streams])
    return np.array(x), np.array(rows).T


def _label_inside(axes: Any, x: Any, low: Any, high: Any, stream: str) -> None:
    """Name an area where it is thickest, if it is thick enough for a line of text."""
    thickness = np.where((x > 4) & (x < 96), high - low, 0)
    near = thickness > 0.97 * thickness.max()
    at = int(np.flatnonzero(near)[len(np.flatnonzero(near)) // 2])
    if thickness[at] >= _INSIDE:
        middle = (low[at] + high[at]) / 2
        axes.text(x[at], middle, stream, ha="center", va="center", fontsize=9, color="black")


def _label_beside(axes: Any, plan: TextPlan, ends: Any) -> None:
    """Name every area at the right, in the order of the stack and never on top of each other."""
    streams = plan.streams
    room = 100 / max(len(streams), 1)
    places = _spread([(a + b) / 2 for a, b in itertools.pairwise(ends)], min(_LINE, room))
    for number, (stream, place) in enumerate(zip(streams, places, strict=True)):
        colour = _COLOURS[number % len(_COLOURS)]
        if ends[number + 1] - ends[number] > 0.01:
            middle = (ends[number] + ends[number + 1]) / 2
            axes.plot([100, 102.5], [middle, place], color=colour, linewidth=1, clip_on=False)
        axes.plot(103.2, place, "s", color=colour, markersize=7, clip_on=False)
        first, last = plan.stages[0].shares(0), plan.stages[-1].shares(1)
        shares = share_range((first.get(stream, 0.0), last.get(stream, 0.0)))
        text = f"{stream_name(stream)} ({stream})  {shares}"
        axes.text(104.2, place, text, va="center", fontsize=9)


def _spread(targets: Sequence[float], gap: float) -> list[float]:
    """Move ascending places apart by at least a gap, within 0 to 100 and as little as may be."""
    places: list[float] = []
    for target in targets:
        places.append(max(target, places[-1] + gap if places else 0.0))
    limit = 100.0
    for number in reversed(range(len(places))):
        places[number] = limit = min(places[number], limit)
        limit -= gap
    return places


def _frame(axes: Any, plan: TextPlan) -> None:
    layout = segments([(stage.name, stage.tokens) for stage in plan.stages])
    done, ticks, labels = 0, [0.0], ["0"]
    for stage, segment in zip(plan.stages, layout, strict=True):
        done += stage.tokens
        right = min(segment.left + segment.width, 100.0)
        ticks.append(right)
        labels.append(count(done))
        middle = segment.left + segment.width / 2
        axes.text(middle, 101.5, stage.name, ha="center", va="bottom", fontsize=10)
        if right < 99.9:
            axes.axvline(right, color="black", linewidth=1)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xticks(ticks, labels)
    axes.set_xlabel("tokens")
    axes.set_ylabel("share of tokens (%)")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
