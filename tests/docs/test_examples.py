from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "example",
    [
        pytest.param(path, marks=[pytest.mark.thorough] * (path.stem == "hf_trainer"), id=path.stem)
        for path in EXAMPLES
    ],
)
def test_example_runs_without_network_and_without_warnings(example: Path, tmp_path: Path) -> None:
    # Models this small are slower, not faster, on more than one thread.
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not list(tmp_path.iterdir()), "an example leaves nothing behind"


def test_there_are_examples() -> None:
    assert {"python_api", "hf_trainer"} <= {path.stem for path in EXAMPLES}
