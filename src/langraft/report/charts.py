"""Charts as plain numbers; templates draw them with HTML, CSS and a little SVG.

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
        """Return where a value stands, from 0 at ``low`` to 100 at ``high``."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def label(self, tick: float) -> str:
        """Write a tick with the decimals that the step needs."""
        step = self.ticks[1] - self.ticks[0]
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{tick:.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def make_axis(values: Sequence[float], num_ticks: int = 4, padding: float = 0.0) -> Axis:
    """Return an axis over values that begins and ends on a tick of 1, 2 or 5 times 10^k.

    Args:
        values: What must fit; not empty.
        num_ticks: About how many intervals.
        padding: Share of the range that is kept free at both ends.
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


@dataclass(frozen=True, slots=True)
class Lane:
    """From before to after, for one method."""

    method: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Row:
    """One language of a before-and-after chart; ``mark`` is a reference such as chance."""

    code: str
    note: str
    lanes: tuple[Lane, ...]
    mark: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A stage's stretch of a learning curve."""

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
    """One language's small multiple."""

    code: str
    axis: Axis
    lines: tuple[Line, ...]


def segments(stages: Sequence[tuple[str, int]]) -> tuple[Segment, ...]:
    """Lay stages side by side; a short one is drawn wider than its tokens so it can be read."""
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
        stages: Where each stage stands.
        curves: By method, the points of each stage; empty where the language did not train.
        axis: The vertical scale; made to fit when not given.
    """
    values = [value for of_stages in curves.values() for points in of_stages for _, value in points]
    axis = axis or make_axis(values, 3)
    lines: list[Line] = []
    for method, of_stages in curves.items():
        path = ""
        for stage, points in zip(stages, of_stages, strict=True):
            for number, (tokens, value) in enumerate(points):
                x = stage.left + stage.width * tokens / stage.tokens
                path += f"{'L' if number else 'M'}{x:.1f} {100 - axis.at(value):.1f}"
            if len(points) == 1:
                path += "h.1"
        flat = [value for points in of_stages for _, value in points]
        if flat:
            lines.append(Line(method, path, flat[0], flat[-1]))
    return Panel(code, axis, tuple(lines))


@dataclass(frozen=True, slots=True)
class HeatMap:
    """One language's routing; cells are unit squares, sizes are in CSS pixels.

    Attributes:
        code: The language.
        paths: By level 0..10, all cells of that darkness as one SVG path.
        titles: Shares in words, by layer.
        means: Share of each expert over all layers.
        row_height: Of a layer.
        column_width: Of an expert.
        label_every: Layers from one label to the next.
    """

    code: str
    paths: dict[int, str]
    titles: tuple[str, ...]
    means: tuple[float, ...]
    row_height: int
    column_width: int
    label_every: int


def heat_map(code: str, routing: Sequence[Sequence[float]], highest: float) -> HeatMap:
    """Grade a language's routing shares.

    Args:
        code: The language.
        routing: Shares by layer and expert, rows summing to 1.
        highest: The share that gets the darkest colour, the same for all languages of a page.
    """
    num_layers, num_experts = len(routing), len(routing[0])
    heights = ((4, 24), (16, 18), (32, 12), (64, 8), (10**9, 6))
    row_height = next(height for most, height in heights if num_layers <= most)
    widths = ((10, 18), (32, 14), (10**9, 8))
    paths: dict[int, str] = {}
    for layer, shares in enumerate(routing):
        for expert, share in enumerate(shares):
            level = round(_HEAT_LEVELS * share / highest)
            # expert 0 stands a little apart
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
