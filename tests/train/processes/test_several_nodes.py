"""Runs over several nodes that lose one, or are stopped: torchrun's agents, and a Slurm cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from long_stage import write_long_recipe
from safetensors.torch import load_file

from langraft.train.log import read_log
from langraft.train.loop import WEIGHTS
from waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.thorough]
EXAMPLE = Path(__file__).parents[3] / "examples/slurm.sbatch"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
STAGE = "train-extend"


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, _small_recipe: dict[str, Any]) -> Path:
    """A recipe whose stage is long enough to be stopped in, and its run on two processes."""
    folder = tmp_path_factory.mktemp("several")
    path = write_long_recipe(folder, _small_recipe, 30_000)
    verb = ["-m", "langraft", "train", path, "--out", folder / "whole"]
    together = [*TORCHRUN, "--standalone", "--nproc-per-node=2"]
    subprocess.run([*together, *verb], check=True, env=ENVIRONMENT, capture_output=True)
    return path


def assert_as_if_nothing_had_happened(recipe: Path, out: Path) -> None:
    whole, stopped = (load_file(at / STAGE / WEIGHTS) for at in (recipe.parent / "whole", out))
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(whole[key], stopped[key]) for key in whole)
    losses = [
        [(r["step"], r["loss"]) for r in read_log(at / STAGE)]
        for at in (recipe.parent / "whole", out)
    ]
    assert losses[0] == losses[1]


def num_steps(out: Path) -> int:
    log = out / STAGE / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.is_file() else 0


def checkpoints(out: Path) -> list[Path]:
    return sorted(out.glob(f"{STAGE}/checkpoints/step-*/checkpoint.json"))


def finished_steps(out: Path, checkpoint: Path) -> list[str]:
    """Return the log up to a checkpoint; its seconds would tell steps that were done again."""
    lines = (out / STAGE / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return lines[: int(checkpoint.parent.name.removeprefix("step-"))]


class Agents:
    """Two agents of torchrun that stand for two nodes; the first one keeps the rendezvous."""

    def __init__(self, recipe: Path, out: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        self._common = [*TORCHRUN, "--nnodes=2", "--nproc-per-node=1", "--max-restarts=3"]
        self._common += ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}"]
        self._verb = ["-m", "langraft", "train", str(recipe), "--out", str(out)]
        self.running: list[subprocess.Popen[bytes]] = [self._start(0), self._start(1)]

    def start(self, node: int) -> None:
        """Start the agent of a node again."""
        self.running[node] = self._start(node)

    def kill(self, node: int) -> None:
        """Take a node away: the agent and the process that it started."""
        agent = self.running[node]
        children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
        for pid in (agent.pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        agent.wait()

    def _start(self, node: int) -> subprocess.Popen[bytes]:
        place = f"--rdzv-conf=is_host={'false' if node else 'true'}"
        return subprocess.Popen([*self._common, place, *self._verb], env=ENVIRONMENT)


@pytest.fixture
def agents(recipe: Path, tmp_path: Path) -> Iterator[Agents]:
    agents = Agents(recipe, tmp_path / "run")
    yield agents
    for node in (0, 1):
        if agents.running[node].poll() is None:
            agents.kill(node)


def test_a_node_that_is_lost_and_comes_back_joins_the_run_again(
    recipe: Path, tmp_path: Path, agents: Agents
) -> None:
    wait_for(lambda: checkpoints(tmp_path / "run"), "a checkpoint")
    agents.kill(1)
    checkpoint = checkpoints(tmp_path / "run")[0]
    kept = finished_steps(tmp_path / "run", checkpoint)
    agents.start(1)
    assert [agent.wait(timeout=400) for agent in agents.running] == [0, 0]
    assert finished_steps(tmp_path / "run", checkpoint) == kept
    assert_as_if_nothing_had_happened(recipe, tmp_path / "run")


def test_the_node_of_the_rendezvous_is_lost_and_both_are_started_again(
    recipe: Path, tmp_path: Path, agents: Agents
) -> None:
    wait_for(lambda: checkpoints(tmp_path / "run"), "a checkpoint")
    agents.kill(0)
    assert agents.running[1].wait(timeout=400) != 0
    checkpoint = checkpoints(tmp_path / "run")[0]
    kept = finished_steps(tmp_path / "run", checkpoint)
    agents.start(0)
    agents.start(1)
    assert [agent.wait(timeout=400) for agent in agents.running] == [0, 0]
    assert finished_steps(tmp_path / "run", checkpoint) == kept
    assert_as_if_nothing_had_happened(recipe, tmp_path / "run")


def slurm(cluster: dict[str, str], *command: str | Path) -> str:
    """Run a command of Slurm and return what it prints."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=cluster)
    return done.stdout.strip()


def test_a_job_of_the_slurm_example_is_stopped_submitted_again_and_requeued(
    recipe: Path, tmp_path: Path, slurm_cluster: dict[str, str]
) -> None:
    commands = str(Path(sys.executable).parent)  # torchrun is one
    cluster = slurm_cluster | {
        "PATH": os.pathsep.join([commands, slurm_cluster["PATH"]]),
        "PROCESSES_PER_NODE": "1",
    }
    out, log = tmp_path / "run", tmp_path / "job.log"
    submit = ["sbatch", "--parsable", "--gpus-per-node=0", "--cpus-per-task=1", f"--output={log}"]
    # No checkpoint but those of a stop.
    job = [*submit, EXAMPLE, recipe, out, "--set", "training.checkpoint_every=1000000"]

    first = slurm(cluster, *job)
    wait_for(lambda: num_steps(out) > 10, "the first steps")
    assert checkpoints(out) == []
    slurm(cluster, "scancel", "--signal=TERM", first)  # what Slurm sends before the time is over
    wait_for(lambda: not slurm(cluster, "squeue", "--noheader"), "the end of the first job")
    num_stops = log.read_text().count("Run the same command again to go on")
    assert num_stops > 0
    (checkpoint,) = checkpoints(out)
    kept = finished_steps(out, checkpoint)

    second = slurm(cluster, *job)
    wait_for(lambda: num_steps(out) > len(kept) + 10, "steps of the second job")
    slurm(cluster, "scontrol", "requeue", second)  # ends it as scancel does
    wait_for(lambda: not slurm(cluster, "squeue", "--noheader"), "the end of the second job")
    assert "JobState=COMPLETED" in slurm(cluster, "scontrol", "show", "job", second)
    assert log.read_text().count("Run the same command again to go on") > num_stops
    assert finished_steps(out, checkpoint) == kept
    assert_as_if_nothing_had_happened(recipe, out)
