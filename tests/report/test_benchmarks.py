"""Benchmarks in the report, the comparison and the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from langraft.cli.show import benchmark_table, comparison_table
from langraft.evaluate.task_score import TaskMean
from langraft.report.benchmarks import NEAR_CHANCE_MEANING, benchmark_rows
from langraft.report.comparison import Row, Spread, write_comparison
from langraft.report.gather import gather
from langraft.report.page import write_report

MakeRun = Callable[..., Path]


def mean(difference: float, **changes: object) -> TaskMean:
    values: dict[str, object] = {
        "benchmark": "xcopa",
        "part": "",
        "role": "new",
        "metric": "acc",
        "languages": 2,
        "before": 0.5,
        "after": 0.5 + difference,
        "difference": difference,
        "stderr": 0.012,
        "chance": 0.5,
        "near_chance": 0,
    }
    return TaskMean(**(values | changes))  # pyright: ignore[reportArgumentType]


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def test_the_page_shows_before_after_error_and_chance_by_role(make_run: MakeRun) -> None:
    folder = make_run(has_tasks=True)
    write_report(folder, folder / "report")
    html = (folder / "report.html").read_text(encoding="utf-8")
    section = text_of(html.partition('<section id="benchmarks">')[2].partition("</section>")[0])
    assert "xcopa acc 1 original 50.0 70.0 75.0 +5.0 ± 1.5 82.5 +12.5 ± 2.3" in section
    assert "xcopa acc 2 new 50.0 70.0 75.0 +5.0 ± 1.1" in section
    assert "xcopa acc 1 transfer 50.0 50.0 50.0 ~ +0.0 ± 0.0 50.0 ~ +0.0 ± 0.0" in section
    assert NEAR_CHANCE_MEANING in section
    assert "Swahili 200 25 → 0 50.0 50.0 50.0 ~ +0.0 ± 0.0" in section
    assert "polylm: mtg not scored in Greek: no file" in section
    assert 'href="#benchmarks"' in html


def test_a_run_without_benchmarks_has_no_such_section(make_run: MakeRun) -> None:
    folder = make_run()
    write_report(folder, folder / "report")
    assert "benchmarks" not in (folder / "report.html").read_text(encoding="utf-8").lower()


def test_scorecards_of_an_earlier_version_are_read(make_run: MakeRun) -> None:
    folder = make_run()
    path = folder / "comparison.json"
    data = json.loads(path.read_text())
    for card in data["methods"].values():
        for key in ("tasks", "task_means", "not_run"):
            del card[key]
    path.write_text(json.dumps(data))
    assert gather(folder).methods[0].scorecard.tasks == {}


def test_the_terminal_shows_them_after_the_scorecard(make_run: MakeRun) -> None:
    run = gather(make_run(has_tasks=True))
    shown = comparison_table({method.name: method.scorecard for method in run.methods})
    rows = [re.sub(r"\s+", " ", line).strip() for line in shown.splitlines()]
    assert "xcopa acc new 2 50.0 70.0 75.0 (+5.0 ± 1.1) 82.5 (+12.5 ± 1.7)" in rows
    assert "xcopa acc transfer 1 50.0 50.0 50.0 (+0.0 ± 0.0)~ 50.0 (+0.0 ± 0.0)~" in rows
    assert "note: polylm: not scored in some languages, no file: mtg" in rows
    assert NEAR_CHANCE_MEANING in shown


def test_seeds_are_shown_as_a_range_and_missing_methods_as_nothing() -> None:
    means = {"moe_lpr": [{"polylm": [mean(0.1)]}, {"polylm": [mean(0.2)]}], "switch": [{}]}
    ((row,),) = benchmark_rows(means).values()
    cell, nothing = row.cells
    assert cell is not None
    assert (row.before, cell.after, cell.difference) == ("50.0", "65.0", "+15.0, +10.0 to +20.0")
    assert nothing is None
    assert "65.0 (+15.0, +10.0 to +20.0)" in benchmark_table(means)


def test_scores_out_of_a_hundred_are_not_made_percent() -> None:
    found = mean(2.0, metric="chrf", before=20.0, after=22.0, stderr=0.5, chance=None)
    ((row,),) = benchmark_rows({"a": [{"s": [found]}]}).values()
    assert (row.before, row.chance) == ("20.0", "")
    assert row.cells[0] is not None
    assert row.cells[0].difference == "+2.0 ± 0.5"


@pytest.mark.parametrize(("near", "is_marked"), [(2, True), (1, False)])
def test_a_mean_is_marked_when_no_language_is_above_chance(near: int, is_marked: bool) -> None:
    table = benchmark_table({"a": [{"s": [mean(0.01, near_chance=near)]}]})
    assert (NEAR_CHANCE_MEANING in table) is is_marked


def test_a_comparison_shows_them_for_every_method(tmp_path: Path) -> None:
    spreads = {name: Spread(1.0, 1.0, 1.0) for name in ("gain", "retention")}
    rows = [
        Row(key, 1, spreads, ({"polylm": [mean(change)]},))
        for key, change in (("a", 0.1), ("b", 0.2))
    ]
    write_comparison("trial", rows, tmp_path / "page.html")
    page = text_of((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "xcopa acc 2 new 50.0 50.0 60.0 +10.0 ± 1.2 70.0 +20.0 ± 1.2" in page
    write_comparison("trial", [Row("a", 1, spreads)], tmp_path / "page.html")
    assert "Benchmarks" not in (tmp_path / "page.html").read_text(encoding="utf-8")
