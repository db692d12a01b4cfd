"""The tables of the terminal in 80 columns: nothing is cut, nothing wraps."""

from __future__ import annotations

from pathlib import Path

import pytest

from langraft.cli.cleaning import cleaning_report
from langraft.cli.tables.plan_tables import cost_text, stream_table
from langraft.cli.tables.score_tables import comparison_table, method_table
from langraft.cli.tables.sparklines import draw_sparklines
from langraft.core.settings.languages import Languages
from langraft.core.streams import stream_name
from langraft.corpus.counts import Drops, Example
from langraft.evaluate.evaluation import Evaluation
from langraft.evaluate.heldout import HeldoutScore
from langraft.evaluate.scorecard import Cost, Parameters, Scorecard, compare
from langraft.plan.hardware import find_hardware
from langraft.recipes.load import load_recipe
from langraft.recipes.planning import plan_recipe
from langraft.recipes.text_planning import plan_recipe_text
from langraft.report.comparison import summarise
from langraft.report.tables import format_table

LANGUAGES = Languages(original=("en", "es"), new=("el", "hu", "tr"), transfer=("sw",))
METHODS = ("moe_lpr", "full", "full_replay", "full merged 0.25", "rare_rows", "switch")


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def evaluation(change: float) -> Evaluation:
    heldout = {
        code: HeldoutScore(
            bits_per_byte=2.0 + number / 7 - change,
            num_bytes=4000,
            num_tokens=1500,
            routing=[],
            document_nats=[2000.0],
            document_bytes=[4000],
        )
        for number, code in enumerate(LANGUAGES.all)
    }
    return Evaluation(heldout=heldout, probes={}, samples={}, tasks={}, not_run={})


def card(method: str, change: float, seed: int = 0) -> Scorecard:
    return compare(
        evaluation(0),
        evaluation(change),
        languages=LANGUAGES,
        method=method,
        seed=seed,
        cost=Cost(
            tokens=98_304,
            training_flops=7.76e13,
            seconds=2451.3,
            parameters=Parameters(total=237_821_184, active=158_194_944, trainable=129_848_256),
        ),
    )


def check(text: str) -> None:
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert "…" not in text


@pytest.mark.parametrize("num_methods", [1, 2, 6])
def test_a_run_fits_and_shows_every_method_and_language(num_methods: int) -> None:
    names = METHODS[:num_methods]
    text = comparison_table({name: card(name, n / 10 - 0.2) for n, name in enumerate(names)})
    check(text)
    for name in names:
        assert f"after {name}" in text
    starts = [line.split()[0] for line in text.splitlines() if line.strip()]
    for language in ("English", "Spanish", "Greek", "Hungarian", "Turkish", "Swahili"):
        assert language in starts


def test_a_comparison_fits_with_the_range_over_seeds() -> None:
    rows = [
        summarise(name, [card(name, n / 10 + seed / 100, seed) for seed in range(3)])
        for n, name in enumerate(METHODS)
    ]
    text = method_table(rows)
    check(text)
    assert "0.510 (0.500 to 0.520)" in text


def test_the_terminal_says_who_lost_nothing() -> None:
    text = comparison_table({"graft": card("graft", 0.1), "full": card("full", -0.1)})
    assert "graft lost nothing: retention is 100% or more." in text
    assert "105.1%" in text
    assert "lost nothing" not in comparison_table({"full": card("full", -0.1)})


def test_a_plan_fits_with_its_hours_and_settings(tmp_path: Path) -> None:
    recipe = load_recipe("quickstart", [])
    plans = plan_recipe(recipe, find_hardware("H100", 1, 0.4), tmp_path)
    text = cost_text(plans)
    check(text)
    assert "device-hours" in text
    plan = plan_recipe_text(recipe, tmp_path)["moe_lpr"]
    streams = stream_table(plan)
    check(streams)
    lines = draw_sparklines(plan)
    assert max(map(len, lines.splitlines())) <= 80
    assert all(stream_name(stream) in streams for stream in plan.streams)


def test_a_corpus_report_fits_with_large_counts_and_long_texts() -> None:
    drops = Drops()
    drops.documents["quality: too few words"] = 123_456
    drops.bytes["quality: too few words"] = 987_654_321
    drops.examples["quality: too few words"] = [
        Example(id="d" * 60, detail="3 words", excerpt="some words " * 40)
    ]
    counts = {
        code: {
            "sources": {"files": {"dropped": drops.to_json()}},
            "read_documents": 123_456_789,
            "heldout_documents": 12_345,
            "documents": 123_000_000,
            "read_bytes": 98_765_432_100,
            "bytes": 98_765_000_000,
        }
        for code in ("el", "hu/wiki")
    }
    text = cleaning_report(counts)
    check(text)
    assert "123,456 (0.1%)" in text
    assert text.count("decided by `min_words` of the filter `quality`") == 2


def test_what_does_not_fit_follows_below_with_its_keys() -> None:
    columns = ["language", *(f"method {n}" for n in range(9))]
    text = format_table(columns, [["Greek", *map(str, range(9))]], width=50)
    tables = [part for part in text.split("\n\n") if part.strip()]
    assert len(tables) == 3
    assert all("Greek" in table for table in tables)
    assert all(f"method {n}" in text for n in range(9))
