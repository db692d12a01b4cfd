"""The promise of the README's first command, on the real quickstart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_quickstart_shows_the_picture_of_the_paper(tmp_path: Path) -> None:
    out = tmp_path / "quickstart"
    command = [sys.executable, "-m", "langraft", "run", "quickstart", "--out", str(out)]
    all_cores = os.environ | {"OMP_NUM_THREADS": str(os.cpu_count())}
    subprocess.run(command, check=True, env=all_cores)
    methods = json.loads((out / "comparison.json").read_text())["methods"]
    grafted, full = methods["moe_lpr"], methods["full"]
    assert full["gain"] > 0.8
    assert full["retention"] < grafted["retention"] - 0.005
    # Promised are 85% of the gain; other processors round otherwise, and the figure moves a little.
    assert grafted["gain"] >= 0.83 * full["gain"]
    assert grafted["retention"] >= 0.98
    assert (out / "report.html").stat().st_size > 10_000
