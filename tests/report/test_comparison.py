"""The picture of a comparison: who stands where, and who is beaten."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from langraft.report.comparison import MethodRow, Spread, write_comparison


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
    assert re.findall(r'class="point([\w ]*)".*?<span[^>]*>([^<]+)<', page) == [
        (" front flip", "graft"),
        (" front flip", "graft (guarded)"),
        ("", "full"),
    ]
    assert "than graft and graft (guarded)." in page


def test_labels_of_neighbours_do_not_cover_each_other(tmp_path: Path) -> None:
    rows = [row(f"m{n}", 0.6 + 0.001 * n, 0.99) for n in range(4)]
    page = write(tmp_path, *rows)
    places = re.findall(r'top:([\d.]+)%"><span style="top:([-\d.]+)rem">', page)
    heights = sorted(float(top) / 100 * 24 + float(moved) for top, moved in places)
    assert all(below - above > 1.0 for above, below in itertools.pairwise(heights))
