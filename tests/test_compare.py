"""Methods side by side over seeds, as a user starts it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import load_file

from command_line import langraft

ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}
METHODS = "moe_lpr,full,no_replay,moe_ct"


def words(recipe: Path, out: Path, *more: str) -> list[str]:
    return ["compare", str(recipe), "--out", str(out), "--methods", METHODS, "--seeds", "2", *more]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, _small_recipe: dict[str, Any]) -> Path:
    no_replay = {
        "name": "full",
        "label": "no_replay",
        "stages": [{"name": "extend", "tokens": 640, "mixture": {"el": 1, "hu": 1}, "lr": 1e-2}],
    }
    path = tmp_path_factory.mktemp("compare") / "small.yaml"
    path.write_text(yaml.safe_dump(_small_recipe | {"baselines": ["full", no_replay]}))
    return path


@pytest.fixture(scope="module")
def finished(recipe: Path) -> tuple[Path, str]:
    out = recipe.parent / "finished"
    return out, langraft(*words(recipe, out)).stdout


def comparison(out: Path) -> dict[str, Any]:
    """Return the comparison without what a clock says."""
    found = json.loads((out / "comparison.json").read_text())["methods"]
    for method in found.values():
        for card in method["seeds"]:
            del card["seconds"]
    return found


def first_step(out: Path, seed: int, method: str) -> dict[str, Any]:
    log = out / f"seed-{seed}" / method / "train-extend/log.jsonl"
    return json.loads(log.read_text().splitlines()[0])


def test_every_method_has_a_scorecard_for_every_seed(finished: tuple[Path, str]) -> None:
    out, printed = finished
    found = comparison(out)
    assert list(found) == METHODS.split(",")
    for method in found.values():
        assert [card["seed"] for card in method["seeds"]] == [0, 1]
        first, second = (card["bits_per_byte"]["el"] for card in method["seeds"])
        assert first["before"] == second["before"]
        assert first["after"] != second["after"]
    assert found["no_replay"]["seeds"][0]["tokens"] == 640
    assert all(key in printed for key in found)
    page = (out / "comparison.html").read_text()
    assert all(f'<th scope="col">{key}</th>' in page for key in found)
    assert "langraft chat" in page
    assert " to " in page


def test_methods_see_the_same_text_in_the_same_order(finished: tuple[Path, str]) -> None:
    out, _ = finished
    losses = {method: first_step(out, 1, method) for method in ("moe_lpr", "moe_ct", "full")}
    # At the first step all methods still are the base, so equal text means equal loss.
    first = losses["full"]["loss_by_language"]
    for record in losses.values():
        assert record["loss_by_language"] == pytest.approx(first, rel=1e-4)
    assert first_step(out, 0, "full")["loss_by_language"] != pytest.approx(first, rel=1e-4)


@pytest.mark.thorough
def test_killed_at_a_random_moment_and_run_again_it_gives_the_same_table(
    recipe: Path, finished: tuple[Path, str], tmp_path: Path
) -> None:
    out, _ = finished
    pause = random.Random(time.time_ns())
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "langraft", *words(recipe, tmp_path / "killed")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ONE_THREAD,
        )
        time.sleep(pause.uniform(4, 12))
        process.send_signal(signal.SIGKILL)
        process.wait()
    langraft(*words(recipe, tmp_path / "killed"))
    assert comparison(tmp_path / "killed") == comparison(out)
    for name in ("seed-0/moe_lpr", "seed-1/moe_ct"):
        paths = [
            at / name / "train-extend/weights.safetensors" for at in (out, tmp_path / "killed")
        ]
        whole, resumed = (load_file(path) for path in paths)
        assert all((whole[key] == resumed[key]).all() for key in whole)


def test_an_unknown_method_is_named(recipe: Path, tmp_path: Path) -> None:
    done = langraft(*words(recipe, tmp_path / "x", "--methods", "moe_lpt"), check=False)
    assert done.returncode == 2
    assert "--methods: given 'moe_lpt'" in done.stderr
    assert "Did you mean 'moe_lpr'?" in done.stderr
