"""A stacked area chart of a text plan: the share of every stream over the run, stage by stage."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from langraft.core.ownership import new_file
from langraft.core.streams import stream_name
from langraft.plan.text_plan import TextPlan
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
_LINE_HEIGHT = 4.2
_LETTER_WIDTH = 1.2


def draw_text_chart(plan: TextPlan, title: str, path: Path) -> None:
    """Draw the shares of all streams as a PNG.

    Short stages are drawn wider than their tokens, so that they can be read. An area is labelled
    inside where there is room, and always at the right, in the order of the stack.

    Raises:
        ArtifactError: when the file exists or cannot be written.
    """
    num_streams = len(plan.streams)
    figure = Figure(figsize=(11, max(5.0, 1.4 + 0.24 * num_streams)), layout="constrained")
    axes: Any = figure.subplots()
    line = min(_LINE_HEIGHT, 100 / num_streams)
    edges = np.empty(0)
    for stage, segment in zip(plan.stages, plan.segments, strict=True):
        parts = np.linspace(0, 1, _POINTS)
        shares = [stage.shares(float(part)) for part in parts]
        heights = [[100 * s.get(stream, 0.0) for s in shares] for stream in plan.streams]
        edges = np.vstack([np.zeros(_POINTS), np.cumsum(heights, axis=0)])
        _fill(axes, segment.left + segment.width * parts, edges)
        _label_inside(axes, segment.left, segment.width, edges, plan.streams)
    _label_right(axes, plan, edges[:, -1], line)
    _draw_axes(axes, plan)
    axes.set_title(title, loc="left", fontsize=12, pad=24)
    with new_file(path) as partial:
        FigureCanvasAgg(figure).print_png(partial, metadata={"Software": None})


def _fill(axes: Any, x: Any, edges: Any) -> None:
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        axes.fill_between(x, low, high, color=_colour(number), edgecolor="w", linewidth=0.25)


def _label_inside(axes: Any, left: float, width: float, edges: Any, streams: Sequence[str]) -> None:
    """Label the areas of a stage where the labels fit."""
    for number, stream in enumerate(streams):
        half = (
            (len(stream) / 2 + 1) * _LETTER_WIDTH / width
        )  # width of the text, as a part of the stage
        reach = int(half * _POINTS)
        found: list[tuple[float, int, int, float]] = []  # height, from the middle, place, centre
        for at in range(reach, _POINTS - reach, 5):
            near = slice(at - reach, at + reach + 1)
            low, high = edges[number][near].max(), edges[number + 1][near].min()
            centre = (low + high) / 2
            found.append((round(float(high - low), 1), -abs(at - _POINTS // 2), at, centre))
        if found and max(found)[0] >= _LINE_HEIGHT:
            _, _, at, centre = max(found)
            x = left + width * at / (_POINTS - 1)
            colour = "black" if number % len(_COLOURS) in _LIGHT else "white"
            axes.text(x, centre, stream, ha="center", va="center", fontsize=9, color=colour)


def _label_right(axes: Any, plan: TextPlan, ends: Any, line: float) -> None:
    """Label every area at the right, without overlaps, with its first and last share."""
    middles = [(low + high) / 2 for low, high in itertools.pairwise(ends)]
    places = spread_labels(middles, line)
    for number, (stream, place) in enumerate(zip(plan.streams, places, strict=True)):
        if ends[number + 1] - ends[number] > 0.01:  # percent; else the stream ended earlier
            line_x, line_y = [100, 102.5], [middles[number], place]
            axes.plot(line_x, line_y, color=_colour(number), linewidth=1, clip_on=False)
        axes.plot(103.2, place, "s", color=_colour(number), markersize=7, clip_on=False)
        words = f"{stream_name(stream)} ({stream})  {share_range(plan.shares_of(stream))}"
        axes.text(104.6, place, words, va="center", fontsize=9)


def spread_labels(targets: Sequence[float], gap: float) -> list[float]:
    """Move ascending positions apart by at least a gap, as little as possible, within 0 to 100."""
    places: list[float] = []
    for target in targets:
        places.append(max(target, places[-1] + gap if places else 0.0))
    limit = 100.0
    for number in reversed(range(len(places))):
        places[number] = limit = min(places[number], limit)
        limit -= gap
    return places


def _draw_axes(axes: Any, plan: TextPlan) -> None:
    layout = plan.segments
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
