"""The picture of a comparison: who stands where, and who is beaten."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest

from langraft.report.comparison import MethodRow, Spread, write_comparison
from langraft.report.scatter import WIDTHS, Box, Spot, boxes_of, scatter


def row(key: str, gain: float, retention: float, guarded: float | None = None) -> MethodRow:
    figures = {"gain": gain, "retention": retention}
    if guarded is not None:
        figures |= {"gain, guarded": guarded, "retention, guarded": 1.0}
    return MethodRow(key, 1, {name: Spread(value, value, value) for name, value in figures.items()})


def write(tmp_path: Path, *rows: MethodRow) -> str:
    write_comparison("trial", rows, tmp_path / "page.html")
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_guarded_method_has_a_second_place(tmp_path: Path) -> None:
    page = write(tmp_path, row("graft", 0.7, 0.94, guarded=0.69), row("full", 0.68, 0.5))
    marks = re.findall(r'class="dot (\w+)".*?>\s*<span class="name" title="([^"]+)"', page)
    assert marks == [
        ("base", "base"),
        ("front", "graft"),
        ("front", "graft (guarded)"),
        ("beaten", "full"),
    ]
    assert "than graft and graft (guarded)." in page


def test_what_gained_nothing_is_never_named_the_best(tmp_path: Path) -> None:
    page = write(tmp_path, row("graft", -0.1, 1.2), row("full", -0.2, 0.5))
    assert "None of them gained." in page
    assert 'class="dot front"' not in page
    assert "lost nothing" in page


def spot(label: str, retention: float, gain: float, spread: float = 0.0) -> Spot:
    return Spot(
        label,
        "front",
        (retention, retention - spread, retention + spread),
        (gain, gain - spread, gain + spread / 2),
    )


AWKWARD = {
    "one": [spot("graft", 1.03, 0.45)],
    "nothing moved": [spot("graft", 1.0, 0.0)],
    "equal points": [spot(f"method {n}", 0.97, 0.3) for n in range(6)],
    "more than kept": [spot("graft", 1.2, 0.4, 0.05), spot("full", 1.19, 0.41, 0.05)],
    "lost all round": [spot("graft", 0.4, -0.3), spot("full", 0.9, -0.01)],
    "at the corner": [spot("a_rather_long_name (guarded)", 1.1, 0.9), spot("full", 0.2, 0.9)],
    "ten with seeds": [
        spot(f"method_{n}", 0.9 + n * n / 900, 0.3 + n / 40, 0.004 * (n % 4)) for n in range(10)
    ],
    "a long name": [spot("method " * 12, 0.99, 0.2)],
}


@pytest.mark.parametrize("case", AWKWARD)
@pytest.mark.parametrize("width", [15.5, 20.0, 42.0])
def test_marks_bars_and_labels_are_inside_and_apart(case: str, width: float) -> None:
    chart = scatter(AWKWARD[case])
    labels: list[Box] = []
    for mark in chart.marks:
        label = mark.label
        assert label is not None
        labels.append(label.box(mark.x[0], width))
    shapes = [box for mark in chart.marks for box in mark.boxes(width, chart.height)]
    for left, top, right, bottom in labels + shapes:
        assert left >= -1e-6
        assert top >= -1e-6
        assert right <= width + 1e-6
        assert bottom <= chart.height + 1e-6
    pairs = [*itertools.combinations(labels, 2), *itertools.product(labels, shapes)]
    assert [(a, b) for a, b in pairs if covers(a, b)] == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "ends", [[(1.02, 0.41)], [(0.986, 1.0), (0.941, 1.17)], [(0.9, 0.0), (1.0, 0.5), (1.1, -0.2)]]
)
def test_labels_keep_clear_of_the_lines_that_lead_to_marks(
    ends: list[tuple[float, float]], width: float
) -> None:
    spots: list[Spot] = []
    for path, (retention, gain) in enumerate(ends):
        halfway = spot("", (1 + retention) / 2 + 0.01, gain / 2)
        spots += [replace(halfway, path=path), replace(spot("m", retention, gain), path=path)]
    chart = scatter(spots)
    assert len(chart.lines) == 2 * len(ends)
    boxes = [m.label.box(m.x[0], width) for m in chart.marks if m.label is not None]
    for (_, line), box in itertools.product(chart.lines, boxes):
        assert not any(covers(box, on_line) for on_line in boxes_of(line, width, chart.height))


def covers(a: Box, b: Box) -> bool:
    return min(a[2], b[2]) - max(a[0], b[0]) > 1e-6 and min(a[3], b[3]) - max(a[1], b[1]) > 1e-6
