"""Charts as numbers, which templates draw with HTML, CSS and SVG.

Positions are percentages of the drawing, from the left and from the top.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from langraft.report.curves import Points

_LEAST_STAGE_WIDTH = 0.2
_HEAT_LEVELS = 10
HEAT_GAP = 0.25  # of a column, between the original expert and the new ones


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear scale with round ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> float:
        """Return the position of a value, from 0 at ``low`` to 100 at ``high``."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def label(self, tick: float) -> str:
        """Format a tick with the decimals that the step needs."""
        step = self.ticks[1] - self.ticks[0]
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{tick:.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def make_axis(values: Sequence[float], num_ticks: int = 4, padding: float = 0.0) -> Axis:
    """Return an axis over values that begins and ends on a tick of 1, 2 or 5 times 10^k.

    Args:
        values: Values to show; not empty.
        num_ticks: Approximate number of intervals.
        padding: Share of the range that is left empty at both ends.
    """
    low, high = min(values), max(values)
    room = (high - low) * padding
    low, high = low - room, high + room
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / num_ticks
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(step * n, 12) for n in range(first, last + 1))
    return Axis(ticks[0], ticks[-1], ticks)


def roomy_axis(values: Sequence[float]) -> Axis:
    """Return an axis with room at both ends for marks, and a few round ticks between.

    Args:
        values: Values to show; not empty.
    """
    low, high = min(values), max(values)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    room = 0.08 * (high - low)
    low, high = low - room, high + room
    most = (high - low) / 2.2
    power = 10.0 ** math.floor(math.log10(most))
    step = next(power * m for m in (5, 2, 1) if power * m <= most * (1 + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(low, high, tuple(round(step * n, 12) for n in range(first, last + 1)))


@dataclass(frozen=True, slots=True)
class BeforeAfter:
    """One method's values before and after, as positions on the axis."""

    method: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One language of a before-and-after chart; ``mark`` is a reference such as chance."""

    code: str
    note: str
    methods: tuple[BeforeAfter, ...]
    mark: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """The part of a chart's width that one stage has."""

    name: str
    left: float
    width: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Line:
    """One method's curve as an SVG path, with its first and last value."""

    method: int
    path: str
    first: float
    last: float


@dataclass(frozen=True, slots=True)
class Panel:
    """The curves of one language."""

    code: str
    axis: Axis
    lines: tuple[Line, ...]


def segments(stages: Sequence[tuple[str, int]]) -> tuple[Segment, ...]:
    """Divide the width of a chart among stages; short ones get more than their share of tokens."""
    total = sum(tokens for _, tokens in stages)
    least = min(_LEAST_STAGE_WIDTH, 1 / len(stages))
    widths = [max(least, tokens / total) for _, tokens in stages]
    scale, left = 100 / sum(widths), 0.0
    found: list[Segment] = []
    for (name, tokens), width in zip(stages, widths, strict=True):
        found.append(Segment(name, round(left, 2), round(width * scale, 2), tokens))
        left += width * scale
    return tuple(found)


def panel(
    code: str,
    stages: Sequence[Segment],
    curves: Mapping[int, Sequence[Points]],
    axis: Axis | None = None,
) -> Panel:
    """Draw one language's curves.

    Args:
        code: The language.
        stages: The position of each stage.
        curves: By method, the points of each stage; empty where the language was not trained.
        axis: The vertical scale; by default it fits the values.
    """
    values = [value for by_stage in curves.values() for points in by_stage for _, value in points]
    axis = axis or make_axis(values, 3)
    lines: list[Line] = []
    for method, by_stage in curves.items():
        path = ""
        for stage, points in zip(stages, by_stage, strict=True):
            for number, (tokens, value) in enumerate(points):
                x = stage.left + stage.width * tokens / stage.tokens
                path += f"{'L' if number else 'M'}{x:.1f} {100 - axis.at(value):.1f}"
            if len(points) == 1:
                path += "h.1"
        flat = [value for points in by_stage for _, value in points]
        if flat:
            lines.append(Line(method, path, flat[0], flat[-1]))
    return Panel(code, axis, tuple(lines))


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Router shares of one language by layer and expert; sizes are in CSS pixels.

    Attributes:
        code: The language.
        paths: By colour level 0..10, all cells (unit squares) of that level as one SVG path.
        titles: Tooltip of each layer.
        means: Share of each expert over all layers.
        row_height: Height of a layer.
        column_width: Width of an expert.
        label_every: Every how many layers there is a label.
    """

    code: str
    paths: dict[int, str]
    titles: tuple[str, ...]
    means: tuple[float, ...]
    row_height: int
    column_width: int
    label_every: int


def heat_map(code: str, routing: Sequence[Sequence[float]], highest: float) -> HeatMap:
    """Draw the router shares of one language.

    Args:
        code: The language.
        routing: Shares by layer and expert, rows summing to 1.
        highest: The share with the darkest colour, the same for all languages of a page.
    """
    num_layers, num_experts = len(routing), len(routing[0])
    heights = ((4, 24), (16, 18), (32, 12), (64, 8), (10**9, 6))
    row_height = next(height for most, height in heights if num_layers <= most)
    widths = ((10, 18), (32, 14), (10**9, 8))
    paths: dict[int, str] = {}
    for layer, shares in enumerate(routing):
        for expert, share in enumerate(shares):
            level = round(_HEAT_LEVELS * share / highest)
            # a gap behind expert 0
            x = f"{expert + HEAT_GAP:g}" if expert else "0"
            paths[level] = paths.get(level, "") + f"M{x} {layer}h1v1h-1z"
    return HeatMap(
        code=code,
        paths=dict(sorted(paths.items())),
        titles=tuple(
            f"Layer {layer}: " + ", ".join(f"{100 * share:.0f}%" for share in shares)
            for layer, shares in enumerate(routing)
        ),
        means=tuple(sum(column) / num_layers for column in zip(*routing, strict=True)),
        row_height=row_height,
        column_width=next(width for most, width in widths if num_experts <= most),
        label_every=math.ceil(14 / row_height),
    )
