"""Benchmarks in a whole run: scored for every model, paired, and not computed twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness_setup import write_lines
from rich.console import Console

from langraft.evaluate.evaluation import Evaluation
from langraft.recipes.load import load_recipe
from langraft.recipes.run import run

ITEMS = [
    {
        "premise": f"The house stands {number}.",
        "choice1": f"The river {number % 3}.",
        "choice2": f"A road {number % 5}.",
        "question": "cause",
        "label": number % 2,
    }
    for number in range(9)
]


@pytest.mark.thorough
def test_a_run_pairs_benchmarks_and_a_rerun_keeps_their_scores(
    small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    write_lines(tmp_path / "bench/xcopa/tr.test.jsonl", ITEMS)
    small_recipe["baselines"] = []
    small_recipe["export"] = {"format": "none"}
    small_recipe["evaluate"] |= {"suites": ["polylm"], "data_dir": str(tmp_path / "bench")}
    path = tmp_path / "r.yaml"

    def carry_out(**evaluate: Any) -> dict[str, str]:
        recipe = small_recipe | {"evaluate": small_recipe["evaluate"] | evaluate}
        path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
        console = Console(quiet=True)
        return run(load_recipe(path), tmp_path / "run", console=console).steps

    carry_out()
    folder = tmp_path / "run"
    (pair,) = json.loads((folder / "scorecard.json").read_text())["tasks"]["polylm"]
    before, after = (
        Evaluation.read(folder / f"evaluate-{name}").tasks["polylm"][0]
        for name in ("base", "review")
    )
    assert (pair["before"], pair["after"]) == (before.value, after.value)
    assert (pair["role"], pair["items"], pair["is_paired"]) == ("transfer", 9, True)
    assert "xcopa" in (folder / "report.html").read_text(encoding="utf-8")
    kept = {p.name: p.stat().st_mtime_ns for p in (folder / "cache/tasks").iterdir()}
    assert len(kept) == 3  # the base and two stages

    assert set(carry_out(batch_size=3).values()) == {"finished"}
    steps = carry_out(heldout=101, tasks=["xcopa"])
    assert steps["train-extend"] != "finished"  # another corpus, hence other models
    small_recipe["evaluate"]["heldout"] = 101
    kept = {p.name: p.stat().st_mtime_ns for p in (folder / "cache/tasks").iterdir()}
    steps = carry_out(tasks=["xcopa"], suites=["polylm", "almanac"])
    assert (steps["train-review"], steps["evaluate-review"]) == ("finished", "ran")
    assert kept == {p.name: p.stat().st_mtime_ns for p in (folder / "cache/tasks").iterdir()}


def test_a_run_with_the_suite_for_small_models_says_what_has_signal(
    small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    # Any model prefers a short sentence to a long one, so that two of three phenomena have signal.
    short = [
        {
            "UID": name,
            "sentence_good": f"A {n}.",
            "sentence_bad": f"A {n} and {n} and {n + 1} more.",
        }
        for name in ("drop_argument", "causative")
        for n in range(8)
    ]
    turned = [
        {"UID": "inchoative", "sentence_good": pair["sentence_bad"], "sentence_bad": "A."}
        for pair in short[:2]
    ]
    write_lines(tmp_path / "bench/blimp/en.jsonl", short + turned)
    same = [{"good": "α.", "bad": "α β γ δ."}, {"good": "α β γ δ.", "bad": "α."}] * 4
    write_lines(tmp_path / "bench/minimal_pairs/el.jsonl", same)
    small_recipe["baselines"] = []
    small_recipe["stages"] = small_recipe["stages"][:1]
    small_recipe["evaluate"] |= {
        "suites": ["small"],
        "data_dir": str(tmp_path / "bench"),
        "limit": 8,
        "limit_each": 5,
    }
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(small_recipe), encoding="utf-8")
    folder = tmp_path / "run"
    run(load_recipe(path), folder, console=Console(quiet=True))
    card = json.loads((folder / "scorecard.json").read_text())
    blimp, pairs = card["tasks"]["small"]
    assert (blimp["benchmark"], blimp["items"], blimp["chance"]) == ("blimp", 12, 0.5)
    assert blimp["before"] == pytest.approx(16 / 18)  # weighted by all the pairs there are
    assert (pairs["benchmark"], pairs["items"], pairs["before"]) == ("minimal_pairs", 5, 0.6)
    original, new = card["suite_means"]["small"]
    assert (original["scores"], original["no_signal"]) == (1, 0)
    assert original["retention"] == pytest.approx(blimp["after"] / blimp["before"])
    assert (new["role"], new["scores"], new["no_signal"]) == ("new", 0, 1)
    scores = {s.benchmark: s for s in Evaluation.read(folder / "evaluate-base").tasks["small"]}
    assert [s.items for s in scores["blimp"].subsets] == [5, 5, 2]
    report, model_card = (
        (folder / name).read_text(encoding="utf-8") for name in ("report.html", "export/README.md")
    )
    assert "no signal</small>" in report
    assert "60.0 ± 24.5, no signal" in model_card
