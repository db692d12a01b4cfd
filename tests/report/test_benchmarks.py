"""Benchmarks in the report, the comparison and the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from langraft.cli.tables.score_tables import benchmark_table, comparison_table
from langraft.evaluate.benchmarks.task_means import SuiteMean, TaskMean
from langraft.report.benchmarks import NO_SIGNAL_MEANING, Means, benchmark_rows
from langraft.report.comparison import MethodRow, Spread, write_comparison
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
        "stderr_before": 0.02,
        "base_near_chance": 0,
    }
    return TaskMean(**(values | changes))  # pyright: ignore[reportArgumentType]


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def test_the_page_shows_before_after_error_and_chance_by_role(make_run: MakeRun) -> None:
    folder = make_run(has_tasks=True)
    write_report(folder, folder / "report")
    html = (folder / "report.html").read_text(encoding="utf-8")
    section = text_of(html.partition('<section id="benchmarks">')[2].partition("</section>")[0])
    assert "xcopa acc 1 original 50.0 70.0 ± 3.0 75.0 +5.0 ± 1.5 82.5 +12.5 ± 2.3" in section
    assert "xcopa acc 2 new 50.0 70.0 ± 2.1 75.0 +5.0 ± 1.1" in section
    silent = "50.0 ± 3.0 no signal 50.0 no signal +0.0 ± 0.0"
    assert f"xcopa acc 1 transfer 50.0 {silent} 50.0 no signal +0.0 ± 0.0" in section
    assert "all with signal 2 of 2 scores new – 70.0 75.0 +5.0 ± 1.1 82.5" in section
    assert NO_SIGNAL_MEANING in section
    assert f"Swahili 200 25 → 0 50.0 {silent}" in section
    assert "polylm: mtg not scored in Greek: no file" in section
    assert 'href="#benchmarks"' in html


def test_a_run_that_scored_none_has_no_such_section(make_run: MakeRun) -> None:
    folder = make_run()
    write_report(folder, folder / "report")
    assert "benchmarks" not in (folder / "report.html").read_text(encoding="utf-8").lower()


def test_scorecards_of_an_earlier_version_are_read(make_run: MakeRun) -> None:
    folder = make_run()
    path = folder / "comparison.json"
    data = json.loads(path.read_text())
    for card in data["methods"].values():
        for key in ("tasks", "task_means", "suite_means", "not_run"):
            del card[key]
    path.write_text(json.dumps(data))
    assert gather(folder).methods[0].scorecard.tasks == {}


def test_the_terminal_shows_them_after_the_scorecard(
    make_run: MakeRun,
) -> None:
    run = gather(make_run(has_tasks=True))
    shown = comparison_table({method.name: method.scorecard for method in run.methods})
    rows = [re.sub(r"\s+", " ", line).strip() for line in shown.splitlines()]
    assert "xcopa new acc 2 50.0 70.0 ± 2.1 75.0 (+5.0 ± 1.1) 82.5 (+12.5 ± 1.7)" in rows
    silent = "50.0 (+0.0 ± 0.0), no signal"
    assert f"xcopa transfer acc 1 50.0 50.0 ± 3.0, no signal {silent} {silent}" in rows
    assert "note: polylm: not scored in some languages, no file: mtg" in rows
    assert NO_SIGNAL_MEANING in " ".join(shown.split())


def test_seeds_are_shown_as_a_range_and_missing_methods_as_nothing() -> None:
    seeds = [Means({"polylm": [mean(change)]}) for change in (0.1, 0.2)]
    means = {"moe_lpr": seeds, "switch": [Means({})]}
    ((row,),) = benchmark_rows(means).values()
    cell, nothing = row.cells
    assert cell is not None
    assert (row.before, cell.after, cell.difference) == (
        "50.0 ± 2.0",
        "65.0",
        "+15.0, +10.0 to +20.0",
    )
    assert nothing is None
    assert "65.0 (+15.0, +10.0 to +20.0)" in benchmark_table(means)


def test_scores_out_of_a_hundred_are_not_made_percent() -> None:
    found = mean(
        2.0, metric="chrf", before=20.0, after=22.0, stderr=0.5, stderr_before=0.4, chance=None
    )
    ((row,),) = benchmark_rows({"a": [Means({"s": [found]})]}).values()
    assert (row.before, row.chance) == ("20.0 ± 0.4", "")
    assert row.cells[0] is not None
    assert row.cells[0].difference == "+2.0 ± 0.5"


@pytest.mark.parametrize(
    ("of_base", "of_both", "base_says", "method_says"),
    [
        (0, 0, "50.0 ± 2.0", "51.0 (+1.0 ± 1.2)"),
        (1, 0, "50.0 ± 2.0, no signal in 1 of 2", "51.0 (+1.0 ± 1.2)"),
        (2, 1, "50.0 ± 2.0, no signal", "51.0 (+1.0 ± 1.2)"),
        (2, 2, "50.0 ± 2.0, no signal", "51.0 (+1.0 ± 1.2), no signal"),
        (0, 2, "50.0 ± 2.0, no signal", "51.0 (+1.0 ± 1.2), no signal"),  # an earlier version's
    ],
)
def test_a_row_says_where_the_base_and_where_both_have_no_signal(
    of_base: int, of_both: int, base_says: str, method_says: str
) -> None:
    found = mean(0.01, base_near_chance=of_base, near_chance=of_both)
    table = benchmark_table({"a": [Means({"s": [found]})]})
    (line,) = [line for line in table.splitlines() if "xcopa" in line]
    cells = re.split(r"\s{2,}", line.strip())
    assert cells[-2:] == [base_says, method_says]


def suite_mean(role: str, scores: int, **changes: object) -> SuiteMean:
    values: dict[str, object] = {
        "role": role,
        "scores": scores,
        "no_signal": 3 - scores,
        "no_chance": 0,
        "before": 0.6,
        "after": 0.63,
        "difference": 0.03,
        "stderr": 0.01,
        "retention": 1.05,
    }
    return SuiteMean(**(values | changes))  # pyright: ignore[reportArgumentType]


def test_a_suite_ends_with_what_has_signal_and_says_when_nothing_has() -> None:
    silent = dict.fromkeys(("before", "after", "difference", "stderr", "retention"))
    suites = {"small": [suite_mean("original", 2), suite_mean("new", 0, **silent)]}
    table = benchmark_table({"a": [Means({"small": [mean(0.1)]}, suites)]})
    rows = [re.sub(r"\s+", " ", line).strip() for line in table.splitlines()]
    assert "all with signal original 2 of 3 scores 60.0 63.0 (+3.0 ± 1.0, 105.0% kept)" in rows
    assert "all with signal new 0 of 3 scores no signal" in rows


def test_the_model_card_has_the_table_too(make_run: MakeRun) -> None:
    folder = make_run(has_tasks=True)
    write_report(folder, folder / "report")
    card = (folder / "export" / "README.md").read_text(encoding="utf-8")
    assert "| xcopa | acc | 1 original | 50.0 | 70.0 ± 3.0 | 75.0 (\\+5.0 ± 1.5) |" in card
    silent = "50.0 (\\+0.0 ± 0.0), no signal"
    row = f"| xcopa | acc | 1 transfer | 50.0 | 50.0 ± 3.0, no signal | {silent} | {silent} |"
    assert row in card
    assert NO_SIGNAL_MEANING in card
    without = make_run()
    write_report(without, without / "report")
    assert "## Benchmarks" not in (without / "export" / "README.md").read_text(encoding="utf-8")


def test_a_comparison_shows_them_for_every_method(tmp_path: Path) -> None:
    spreads = {name: Spread(1.0, 1.0, 1.0) for name in ("gain", "retention")}
    rows = [
        MethodRow(key, 1, spreads, (Means({"polylm": [mean(change)]}),))
        for key, change in (("a", 0.1), ("b", 0.2))
    ]
    write_comparison("trial", rows, tmp_path / "page.html")
    page = text_of((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert "xcopa acc 2 new 50.0 50.0 ± 2.0 60.0 +10.0 ± 1.2 70.0 +20.0 ± 1.2" in page
    write_comparison("trial", [MethodRow("a", 1, spreads)], tmp_path / "page.html")
    assert "Benchmarks" not in (tmp_path / "page.html").read_text(encoding="utf-8")
