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

# Ten hues, then light and then dark ones, so that neighbours in a stack differ in hue.
_COLOURS = (
    "#3b6fb6", "#e08a2c", "#3f9e58", "#c8474b", "#8262a8", "#8a6246", "#d36fae", "#7c7c7c",
    "#a8a432", "#2fa4b5", "#a6c1e6", "#f6cb98", "#a3d6a8", "#eea6a4", "#c7b5de", "#cdb3a3",
    "#f0bcdc", "#c6c6c6", "#dcdb92", "#a2dbe4", "#1f3d6b", "#9c5a0f", "#1f5e33", "#7f2226",
    "#4d3470", "#4f3524", "#8c2f6c", "#404040", "#66631a", "#12616d",
)  # fmt: skip
_LIGHT = range(10, 20)
_POINTS = 600  # of a stage
# In percent of the drawing:
_LINE = 4.2  # height of a line of text, at least
_LETTER = 1.2  # width of a letter


def draw_text(plan: TextPlan, title: str, path: Path) -> None:
    """Draw a plan as a PNG.

    Stages stand side by side; a short one is drawn wider than its tokens so that it can be read.
    An area is named where there is room, and always at the right, in the order of the stack.

    Raises:
        ArtifactError: when the file cannot be written.
    """
    num_streams = len(plan.streams)
    figure = Figure(figsize=(11, max(5.0, 1.4 + 0.24 * num_streams)), layout="constrained")
    axes: Any = figure.subplots()
    line = min(_LINE, 100 / num_streams)
    edges = np.empty(0)
    layout = segments([(stage.name, stage.tokens) for stage in plan.stages])
    for stage, segment in zip(plan.stages, layout, strict=True):
        parts = np.linspace(0, 1, _POINTS)
        shares = [stage.shares(float(part)) for part in parts]
        heights = [[100 * s.get(stream, 0.0) for s in shares] for stream in plan.streams]
        edges = np.vstack([np.zeros(_POINTS), np.cumsum(heights, axis=0)])
        _fill(axes, segment.left + segment.width * parts, edges)
        _name_inside(axes, segment.left, segment.width, edges, plan.streams)
    _name_beside(axes, plan, edges[:, -1], line)
    _frame(axes, plan)
    axes.set_title(title, loc="left", fontsize=12, pad=24)
    with explain_disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def _fill(axes: Any, x: Any, edges: Any) -> None:
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        axes.fill_between(x, low, high, color=_colour(number), edgecolor="w", linewidth=0.25)


def _name_inside(axes: Any, left: float, width: float, edges: Any, streams: Sequence[str]) -> None:
    """Write the names of a stage's streams where they fit."""
    for number, stream in enumerate(streams):
        half = (len(stream) / 2 + 1) * _LETTER / width  # of the text, as a part of the stage
        reach = int(half * _POINTS)
        found: list[tuple[float, int, int, float]] = []  # height, from the middle, place, centre
        for at in range(reach, _POINTS - reach, 5):
            near = slice(at - reach, at + reach + 1)
            low, high = edges[number][near].max(), edges[number + 1][near].min()
            centre = (low + high) / 2
            found.append((round(float(high - low), 1), -abs(at - _POINTS // 2), at, centre))
        if found and max(found)[0] >= _LINE:
            _, _, at, centre = max(found)
            x = left + width * at / (_POINTS - 1)
            colour = "black" if number % len(_COLOURS) in _LIGHT else "white"
            axes.text(x, centre, stream, ha="center", va="center", fontsize=9, color=colour)


def _name_beside(axes: Any, plan: TextPlan, ends: Any, line: float) -> None:
    """Name every area at the right, never on top of each other, with its first and last share."""
    middles = [(low + high) / 2 for low, high in itertools.pairwise(ends)]
    places = _spread(middles, line)
    for number, (stream, place) in enumerate(zip(plan.streams, places, strict=True)):
        if ends[number + 1] - ends[number] > 0.01:  # percent; else it has ended before
            line_x, line_y = [100, 102.5], [middles[number], place]
            axes.plot(line_x, line_y, color=_colour(number), linewidth=1, clip_on=False)
        axes.plot(103.2, place, "s", color=_colour(number), markersize=7, clip_on=False)
        words = f"{stream_name(stream)} ({stream})  {share_range(plan.shares_of(stream))}"
        axes.text(104.6, place, words, va="center", fontsize=9)


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
    ends = list(itertools.accumulate(stage.tokens for stage in plan.stages))
    for segment in layout:
        middle = segment.left + segment.width / 2
        axes.text(middle, 101.5, segment.name, ha="center", va="bottom", fontsize=10)
    for segment in layout[1:]:
        axes.axvline(segment.left, color="black", linewidth=1)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    ticks = [*(segment.left for segment in layout), 100]
    axes.set_xticks(ticks, ["0", *(count(end).replace(".00", "") for end in ends)])
    axes.set_xlabel("tokens")
    axes.set_ylabel("share of tokens (%)")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]
