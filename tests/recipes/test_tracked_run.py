from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line import langraft


@pytest.fixture
def recipe(tmp_path: Path, small_recipe: dict[str, Any]) -> Path:
    small_recipe["training"]["track"] = ["tensorboard"]
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small_recipe), encoding="utf-8")
    return path


def scalars(folder: Path) -> dict[str, list[float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {n: [e.value for e in events.Scalars(n)] for n in events.Tags()["scalars"]}


@pytest.mark.slow
def test_a_tracked_run_ends_with_its_scorecard_and_with_what_to_type_next(
    recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    done = langraft("run", recipe, "--out", run)
    board = run / "tracking" / "tensorboard"
    folders = {p.parent.relative_to(board).as_posix() for p in board.rglob("events*")}
    names = {name.rpartition("-")[0] for name in folders}
    assert names == {"base", "extend", "review", "full/extend", "full/review"}
    card = json.loads((run / "scorecard.json").read_text())
    (last,) = board.glob("review-*")
    found = scalars(last)
    assert found["scorecard/gain"] == [pytest.approx(card["gain"])]
    assert found["scorecard/bits_per_byte/el/after"] == [
        pytest.approx(card["bits_per_byte"]["el"]["after"])
    ]
    assert "  corpus: " in done.stderr
    assert "  evaluate-extend: " in done.stderr
    assert " s left" in done.stderr
    said = done.stderr[done.stderr.index("next:") :].replace("\\\n      ", "").splitlines()
    assert said == [
        "next:",
        f"  langraft chat {run}",
        f"  vllm serve {run}/export",
        f"  langraft verify http://localhost:8000 --export {run}/export",
        f"  langraft push {run} --to OWNER/NAME",
    ]
    again = langraft("run", recipe, "--out", run, "--json")
    assert set(json.loads(again.stdout)["steps"].values()) == {"finished"}
    assert "next:" not in again.stderr
    assert scalars(last)["scorecard/gain"] == found["scorecard/gain"]


def test_a_run_without_an_export_names_it_as_next(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    only = ("--set", "export.format=none", "--set", "baselines=[]", "--set", "training.track=[]")
    done = langraft("run", recipe, "--out", run, *only)
    said = done.stderr[done.stderr.index("next:") :]
    assert said.startswith(f"next:\n  langraft chat {run}\n  langraft export {run} ")
    assert f"vllm serve {run}-export\n" in said
    assert not (run / "tracking").exists()


def test_an_unknown_tracker_is_answered_with_the_nearest(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = langraft("run", recipe, "--out", run, "--set", "training.track=[wandbb]", check=False)
    assert done.returncode == 2
    assert "training.track[0]: given 'wandbb'" in done.stderr
    assert "Did you mean 'wandb'?" in done.stderr
    assert not run.exists()
