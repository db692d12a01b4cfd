"""The promise of the README's first command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import langraft


def test_the_quickstart_is_a_recipe_that_every_check_accepts(tmp_path: Path) -> None:
    done = langraft("run", "quickstart", "--out", tmp_path / "run", "--dry-run", "--json")
    steps = json.loads(done.stdout)["steps"]
    assert {"tokenizer", "corpus", "base", "train-extend", "export", "report"} <= steps.keys()
    assert set(steps.values()) == {"would run"}
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.thorough
def test_the_quickstart_shows_the_picture_of_the_paper(tmp_path: Path) -> None:
    out = tmp_path / "quickstart"
    command = [sys.executable, "-m", "langraft", "run", "quickstart", "--out", str(out)]
    subprocess.run(command, check=True)  # one thread: other tests have the other cores
    methods = json.loads((out / "comparison.json").read_text())["methods"]
    grafted, full = methods["moe_lpr"], methods["full"]
    assert full["gain"] > 0.8
    assert full["retention"] < grafted["retention"] - 0.005
    # Promised are 85% of the gain; other processors round otherwise, and the figure moves a little.
    assert grafted["gain"] >= 0.83 * full["gain"]
    assert grafted["retention"] >= 0.98
    assert (out / "report.html").stat().st_size > 10_000
