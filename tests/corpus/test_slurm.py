"""The Slurm engine against a queue on this machine: commands that do what Slurm's do."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from corpus_tasks import Leaves, Refuses
from langraft.core.errors import CorpusError
from langraft.corpus.engines import slurm
from langraft.corpus.engines.slurm import Slurm

# Runs the array of a batch script one task after another; a job that has ended is in no queue.
SBATCH = """#!/bin/sh
script=$(eval echo "\\${$#}")
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
for task in $(seq 0 "$last"); do
  SLURM_ARRAY_TASK_ID=$task SLURM_JOB_ID=$((7 + task)) SLURM_ARRAY_JOB_ID=7 \\
    SLURM_NODEID=0 SLURM_NODELIST=here sh -c '. "$0"' "$script" >/dev/null 2>&1
done
echo 7
"""


SRUN = """#!/bin/sh
while [ "$1" != launch_pickled_pipeline ]; do shift; done
exec "$@"
"""


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, importable_tasks: None) -> Path:
    """The folder of the commands."""
    pytest.importorskip("datatrove")
    commands = tmp_path / "bin"
    commands.mkdir()
    of_slurm = {"sbatch": SBATCH, "srun": SRUN, "squeue": "", "scontrol": "echo here\n"}
    for name, text in of_slurm.items():
        install(commands / name, text)
    ours = str(Path(sys.executable).parent)  # of a virtual environment that is not activated
    paths = [path for path in os.environ["PATH"].split(os.pathsep) if path != ours]
    monkeypatch.setenv("PATH", os.pathsep.join([str(commands), *paths]))
    monkeypatch.setattr(slurm, "_POLL_SECONDS", 0.05)
    return commands


def install(command: Path, text: str) -> None:
    command.write_text(text if text.startswith("#!") else f"#!/bin/sh\n{text}")
    command.chmod(0o755)


def test_an_array_job_carries_out_all_tasks(tmp_path: Path, queue: Path) -> None:
    tasks = [Leaves(tmp_path / f"{number}") for number in range(3)]
    said: list[int] = []
    Slurm(partition="cpu").run(tasks, tmp_path / "engine", said.append)
    assert [(tmp_path / f"{number}").exists() for number in range(3)] == [True] * 3
    assert said[-1] == 3


def test_tasks_that_did_not_finish_are_counted_and_their_logs_named(
    tmp_path: Path, queue: Path
) -> None:
    tasks = [Leaves(tmp_path / "0"), Refuses()]
    with pytest.raises(CorpusError, match=r"1 of 2 Slurm tasks did not finish.*slurm_logs"):
        Slurm(partition="cpu").run(tasks, tmp_path / "engine", lambda done: None)
    assert (tmp_path / "0").exists()


def test_a_controller_that_does_not_answer_is_asked_again(tmp_path: Path, queue: Path) -> None:
    asked = tmp_path / "asked"
    install(queue / "squeue", f"echo >>{asked}; test $(wc -l <{asked}) -gt 2")
    with pytest.raises(CorpusError, match="1 of 1 Slurm tasks did not finish"):
        Slurm(partition="cpu").run([Refuses()], tmp_path / "engine", lambda done: None)
    assert asked.read_text() == "\n" * 3


def test_a_job_that_an_earlier_command_left_is_cancelled_first(tmp_path: Path, queue: Path) -> None:
    (tmp_path / "engine/slurm-17-ab").mkdir(parents=True)
    gone = tmp_path / "gone"
    install(queue / "scancel", f'echo "$@" >{gone}')
    install(queue / "squeue", f"test -e {gone} || echo 7")
    Slurm(partition="cpu").run([Leaves(tmp_path / "0")], tmp_path / "engine", lambda done: None)
    assert gone.read_text() == "--name langraft-corpus-17-ab\n"


def test_one_job_with_the_options_of_the_recipe_is_submitted(tmp_path: Path, queue: Path) -> None:
    install(queue / "sbatch", f"{SBATCH}echo >>{tmp_path / 'submitted'}\n")
    engine = Slurm(partition="cpu", options={"qos": "long"}, environment="export SAID=yes")
    engine.run([Leaves(tmp_path / "0")], tmp_path / "engine", lambda done: None)
    (script,) = (tmp_path / "engine").glob("slurm-*/launch_script.slurm")
    assert [line for line in script.read_text().splitlines() if "qos" in line] == [
        "#SBATCH --qos=long"
    ]
    assert "export SAID=yes\n" in script.read_text()
    assert (tmp_path / "submitted").read_text() == "\n"


def test_a_job_that_sbatch_refuses_names_the_keys_to_check(tmp_path: Path, queue: Path) -> None:
    install(queue / "sbatch", "echo invalid partition >&2; exit 1")
    with pytest.raises(CorpusError, match=r"sbatch refused the job.*partition \(nope\)"):
        Slurm(partition="nope").run([Leaves(tmp_path / "0")], tmp_path / "engine", lambda n: None)


def test_a_name_of_the_users_cannot_hide_the_job() -> None:
    with pytest.raises(ValidationError, match="job-name is set by langraft"):
        Slurm(partition="cpu", options={"job-name": "mine"})


def test_a_machine_without_slurm_says_what_else_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("datatrove")
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    with pytest.raises(CorpusError, match="use `local` or `ray`"):
        Slurm(partition="cpu").run([Leaves(tmp_path / "0")], tmp_path / "engine", lambda n: None)
