"""The Slurm engine on a real cluster of two nodes, both on this machine."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line import langraft
from waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.thorough]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, _small_recipe: dict[str, Any]) -> Path:
    """A recipe for the cluster, beside the corpus that this machine makes of it alone."""
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "local.yaml").write_text(yaml.safe_dump(_small_recipe))
    langraft("corpus", folder / "local.yaml", "--out", folder / "local")
    # One task at a time: there is always a task left to cancel.
    engine = {"name": "slurm", "partition": "all", "memory_per_cpu": 1, "workers": 1}
    corpus = {"sources": _small_recipe["corpus"], "engine": engine}
    (folder / "slurm.yaml").write_text(yaml.safe_dump(_small_recipe | {"corpus": corpus}))
    return folder / "slurm.yaml"


def assert_same_corpus(recipe: Path, run: Path) -> None:
    local, cluster = (
        {
            path.relative_to(folder): path.read_bytes()
            for path in (folder / "corpus").rglob("*")
            if path.is_file() and path.name != "manifest.json"  # which has the time
        }
        for folder in (recipe.parent / "local", run)
    )
    assert len(local) > 10
    assert cluster == local


def start(recipe: Path, run: Path, cluster: dict[str, str]) -> subprocess.Popen[str]:
    """Start ``langraft corpus``, whose jobs alone are in the queue."""
    command = [sys.executable, "-m", "langraft", "corpus", str(recipe), "--out", str(run)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=cluster)


def queued(cluster: dict[str, str]) -> str:
    """Return the ids of the jobs in the queue, and of no tasks."""
    command = ["squeue", "--noheader", "--format", "%F"]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=cluster)
    return " ".join(sorted(set(found.stdout.split())))


def is_cancelled(job: str, cluster: dict[str, str]) -> bool:
    command = ["scontrol", "show", "job", job]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=cluster)
    return "JobState=CANCELLED" in found.stdout


def finished_parts(run: Path) -> list[Path]:
    return list(run.glob("corpus/.work/parts/*/*/00000/counts.json"))


def test_a_cancelled_job_says_so_and_the_same_command_makes_what_this_machine_makes(
    recipe: Path, tmp_path: Path, slurm_cluster: dict[str, str]
) -> None:
    process = start(recipe, tmp_path, slurm_cluster)
    wait_for(lambda: finished_parts(tmp_path), "a finished part", seconds=300)
    subprocess.run(["scancel", queued(slurm_cluster)], check=True, env=slurm_cluster)
    stderr = process.communicate(timeout=300)[1]
    num_left = 4 - len(finished_parts(tmp_path))
    assert num_left > 0
    assert process.returncode == 2
    assert "of 4 Slurm tasks did not finish" in stderr
    assert "the same command submits the rest" in stderr
    assert "Traceback" not in stderr
    again = start(recipe, tmp_path, slurm_cluster)
    stderr = again.communicate(timeout=400)[1]
    assert again.returncode == 0, stderr
    assert f"({num_left} tasks)" in stderr.partition("launch script")[0]  # the first job
    assert_same_corpus(recipe, tmp_path)
    assert queued(slurm_cluster) == ""


def test_the_job_of_a_command_that_was_killed_is_cancelled_by_the_next_one(
    recipe: Path, tmp_path: Path, slurm_cluster: dict[str, str]
) -> None:
    killed = start(recipe, tmp_path, slurm_cluster)
    wait_for(lambda: finished_parts(tmp_path), "a finished part", seconds=300)
    killed.kill()
    killed.communicate()
    left = queued(slurm_cluster)
    assert left
    subprocess.run(["scontrol", "hold", left], check=True, env=slurm_cluster)  # or it might end
    again = start(recipe, tmp_path, slurm_cluster)
    stderr = again.communicate(timeout=400)[1]
    assert again.returncode == 0, stderr
    assert_same_corpus(recipe, tmp_path)
    assert is_cancelled(left, slurm_cluster)


def test_ctrl_c_cancels_the_job(
    recipe: Path, tmp_path: Path, slurm_cluster: dict[str, str]
) -> None:
    process = start(recipe, tmp_path, slurm_cluster)
    wait_for(lambda: queued(slurm_cluster), "the job", seconds=300)
    job = queued(slurm_cluster)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)
    assert process.returncode != 0
    wait_for(lambda: not queued(slurm_cluster), "its end", seconds=300)
    assert is_cancelled(job, slurm_cluster)
