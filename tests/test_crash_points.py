"""A verb that is killed before any of its file operations gives the same when it is run again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line import langraft
from tiny import tiny_model

pytestmark = [pytest.mark.thorough, pytest.mark.slow]
TESTS = Path(__file__).parent


# Of a verb's crash points, so many in CI, where each costs two runs; a release tries them all.
MOST = int(os.environ["LANGRAFT_CRASH_POINTS"]) if "LANGRAFT_CRASH_POINTS" in os.environ else None
DELETES = ["os.remove", "os.rmdir", "os.truncate"]


def crash(
    folder: Path, verb: list[str], before: Path | None = None, events: list[str] | None = None
) -> int:
    """Try the crash points of a verb, or those at some events; return how many there are."""
    folder.mkdir()
    start = None if before is None else str(before)
    scenario = {"verb": verb, "before": start, "events": events, "most": MOST}
    (folder / "scenario.json").write_text(json.dumps(scenario))
    done = subprocess.run(
        [sys.executable, TESTS / "crash_points.py", folder],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}"},
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    return found["operations"]


@pytest.fixture(scope="module")
def recipe(
    tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path, _small_recipe: dict[str, Any]
) -> Path:
    """A run on a base of one layer: one stage of four steps with two checkpoints."""
    folder = tmp_path_factory.mktemp("crash")
    tiny_model("llama", num_hidden_layers=1).save_pretrained(folder / "base")
    for path in tokenizer_folder.glob("tokenizer*"):
        shutil.copy(path, folder / "base" / path.name)
    stages = [{"name": "extend", "tokens": 512, "mixture": {"el": 1}, "lr": 1e-2}]
    changes: dict[str, Any] = {"base": str(folder / "base"), "stages": stages, "baselines": []}
    changes["languages"] = {"original": ["en"], "new": ["el"]}
    changes["corpus"] = [_small_recipe["corpus"][0] | {"languages": ["en", "el"]}]
    (folder / "recipe.yaml").write_text(yaml.safe_dump(_small_recipe | changes), encoding="utf-8")
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def finished(recipe: Path) -> Path:
    langraft("run", recipe, "--out", recipe.parent / "run")
    return recipe.parent / "run"


def test_a_run(recipe: Path, tmp_path: Path) -> None:
    assert crash(tmp_path / "crash", ["run", str(recipe), "--out", "{out}"]) > 50


def test_a_run_whose_recipe_changed_so_that_steps_are_deleted(
    recipe: Path, finished: Path, tmp_path: Path
) -> None:
    changes = ["--set", "evaluate.heldout=120", "--set", "stages[0].lr=2e-2"]
    verb = ["run", str(recipe), "--out", "{out}", *changes]
    assert crash(tmp_path / "crash", verb, before=finished, events=DELETES) > 50


@pytest.mark.parametrize("is_there", [False, True])
def test_an_export(finished: Path, tmp_path: Path, is_there: bool) -> None:
    before = None
    if is_there:
        before = tmp_path / "exported"
        langraft("export", finished, "--out", before)
    verb = ["export", str(finished), "--out", "{out}"]
    assert crash(tmp_path / "crash", verb, before=before) > 5


def test_an_extended_tokenizer(
    save_base: Callable[..., Path], text_folder: Path, tmp_path: Path
) -> None:
    text = text_folder / "el.jsonl"
    extend = ["tokenizer", "extend", str(save_base()), "--text", f"el={text}", "--new-tokens", "8"]
    assert crash(tmp_path / "crash", [*extend, "--out", "{out}"]) > 5
