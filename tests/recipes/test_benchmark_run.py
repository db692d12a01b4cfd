"""Benchmarks in a whole run: scored for every model, paired, and not computed twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
