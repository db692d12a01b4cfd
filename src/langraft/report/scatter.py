"""A chart of gain against retention: marks, bars over seeds, and labels that keep clear of them.

The chart has a height in rem and takes the width that the window gives, so that a place for a
label is checked at the narrowest and the widest chart: what is clear at both is clear between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from langraft.report.charts import Axis, roomy_axis

WIDTHS = (15.5, 24.0, 42.0)  # rem: on a phone, between, on a desk
LINE_HEIGHT = 1.15  # rem, as the rest
MARK = 0.8
_LETTER = 0.52
_WIDEST_LABEL = 14.0
_SPACE = 0.65  # between a mark and its label
_BAR = 0.15
_LEAST_HEIGHT = 18.0

_LINE_BOXES = 100  # that a line is taken for

Box = tuple[float, float, float, float]  # left, top, right, bottom
Line = tuple[tuple[float, float], tuple[float, float]]  # two places, in percent


@dataclass(frozen=True, slots=True)
class Spot:
    """A mark before it is placed: mean, lowest and highest of both figures, and how it looks.

    A line leads to it from the mark before it on the ``path`` of its number, or from the base; from
    nowhere without one.
    """

    label: str
    css: str
    retention: tuple[float, float, float]
    gain: tuple[float, float, float]
    path: int | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """Where a label is: ``shift`` from its mark and ``width`` in rem, ``top`` from the chart's.

    ``align`` is towards the mark; ``is_led`` says that a line leads to it.
    """

    shift: float
    top: float
    width: float
    align: str
    is_led: bool

    def box(self, x: float, width: float) -> Box:
        """Return what it covers in a chart of a width, by the rule of its style sheet."""
        left = min(max(0.0, x * width / 100 + self.shift), width - self.width)
        return (left, self.top, left + self.width, self.top + LINE_HEIGHT)


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark, its bars over seeds and its label; positions in percent from the left and bottom."""

    name: str
    css: str
    x: tuple[float, float, float]
    y: tuple[float, float, float]
    label: Label | None

    def boxes(self, width: float, height: float) -> tuple[Box, Box, Box]:
        """Return what the mark and its two bars cover, in rem."""
        x, x_low, x_high = (value * width / 100 for value in self.x)
        y, y_low, y_high = ((100 - value) * height / 100 for value in self.y)
        return (
            (x - MARK / 2, y - MARK / 2, x + MARK / 2, y + MARK / 2),
            (x_low, y - _BAR / 2, x_high, y + _BAR / 2),
            (x - _BAR / 2, y_high, x + _BAR / 2, y_low),
        )


@dataclass(frozen=True, slots=True)
class Scatter:
    """The whole chart; ``height`` in rem, ``lines`` with the number of their path."""

    x_axis: Axis
    y_axis: Axis
    height: float
    marks: tuple[Mark, ...]
    lines: tuple[tuple[int, Line], ...]


def scatter(spots: Sequence[Spot]) -> Scatter:
    """Place marks and their labels; the base, at no gain and 100% retention, is one of them."""
    spots = [Spot("base", "base", (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), *spots]
    x_axis = roomy_axis([100 * value for spot in spots for value in spot.retention])
    y_axis = roomy_axis([value for spot in spots for value in spot.gain])
    height = max(_LEAST_HEIGHT, 5 + 1.6 * LINE_HEIGHT * sum(bool(spot.label) for spot in spots))
    bare = [
        Mark(
            spot.label,
            spot.css,
            _positions(x_axis, [100 * value for value in spot.retention]),
            _positions(y_axis, spot.gain),
            None,
        )
        for spot in spots
    ]
    lines = _lines(spots, bare)
    labels = _place(bare, [line for _, line in lines], height)
    marks = (
        Mark(mark.name, mark.css, mark.x, mark.y, label)
        for mark, label in zip(bare, labels, strict=True)
    )
    return Scatter(x_axis, y_axis, height, tuple(marks), tuple(lines))


def _positions(axis: Axis, values: Sequence[float]) -> tuple[float, float, float]:
    mean, low, high = (axis.at(value) for value in values)
    return (mean, low, high)


def _lines(spots: Sequence[Spot], marks: Sequence[Mark]) -> list[tuple[int, Line]]:
    """Return the lines between the marks of each path, which begins at the base."""
    before: dict[int, Mark] = {}
    lines: list[tuple[int, Line]] = []
    for spot, mark in zip(spots, marks, strict=True):
        if spot.path is not None:
            begin = before.get(spot.path, marks[0])
            lines.append((spot.path, ((begin.x[0], begin.y[0]), (mark.x[0], mark.y[0]))))
            before[spot.path] = mark
    return lines


def boxes_of(line: Line, width: float, height: float) -> list[Box]:
    """Return small boxes along a line, in rem."""
    (x0, y0), (x1, y1) = line
    steps = [number / _LINE_BOXES for number in range(_LINE_BOXES + 1)]
    centres = [
        ((x0 + (x1 - x0) * t) * width / 100, (100 - y0 - (y1 - y0) * t) * height / 100)
        for t in steps
    ]
    half = _BAR / 2
    return [(x - half, y - half, x + half, y + half) for x, y in centres]


def _place(marks: Sequence[Mark], lines: Sequence[Line], height: float) -> list[Label | None]:
    """Return the labels, placed from the top; each where it covers least, near its mark if it can.

    The first place that is clear at every width is taken.
    """
    taken = {
        width: [
            *(box for mark in marks for box in mark.boxes(width, height)),
            *(box for line in lines for box in boxes_of(line, width, height)),
        ]
        for width in WIDTHS
    }
    found: list[Label | None] = [None] * len(marks)
    for number in sorted(range(len(marks)), key=lambda n: -marks[n].y[0]):
        mark = marks[number]
        if not mark.name:
            continue
        best, least = None, float("inf")
        for label in _candidates(mark, height):
            covered = sum(
                _overlap(label.box(mark.x[0], width), box)
                for width, boxes in taken.items()
                for box in boxes
            )
            if covered < least:
                best, least = label, covered
            if not covered:
                break
        assert best is not None
        found[number] = best
        for width, boxes in taken.items():
            boxes.append(best.box(mark.x[0], width))
    return found


def _candidates(mark: Mark, height: float) -> list[Label]:
    """Return places for a label, the nearest first, all of them inside the chart."""
    width = min(_WIDEST_LABEL, _LETTER * cell_len(mark.name) + 0.3)
    middle = (100 - mark.y[0]) * height / 100 - LINE_HEIGHT / 2
    sides = (("left", _SPACE), ("right", -_SPACE - width), ("center", -width / 2))
    labels: list[Label] = []
    for steps in range(int(2 * height / LINE_HEIGHT)):
        for direction in (1, -1) if steps else (1,):
            top = middle + direction * steps * LINE_HEIGHT / 2
            if 0 <= top <= height - LINE_HEIGHT:
                labels += [Label(shift, top, width, align, steps > 3) for align, shift in sides]
    return labels


def _overlap(a: Box, b: Box) -> float:
    """Return the area that two boxes share."""
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return across * down if across > 0 and down > 0 else 0.0
