"""The same stage on one, two and four processes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from long_stage import write_long_recipe
from pydantic import ValidationError
from safetensors.torch import load_file
from stage_setup import grafted, write_shards

from command_line import langraft
from langraft.core.errors import TrainingError
from langraft.core.settings.training import Mesh, Training
from langraft.train.log import read_log
from langraft.train.loop import WEIGHTS
from langraft.train.processes.fsdp import _Placement, gather_tensors
from langraft.train.processes.group import Processes
from langraft.train.processes.mesh import check_mesh
from thorough import is_thorough

TESTS = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join(
        [str(TESTS), str(TESTS / "train"), *filter(None, [os.environ.get("PYTHONPATH")])]
    ),
}
ON_TWO = (
    *("lpr", "lpr-chunked-recomputed", "lpr+expert", "odd", "review", "review-micro2"),
    "retain-extended",
)
ROUNDED = "lpr-bfloat16+expert"
ON_META = (
    "unloaded-untied",
    "unloaded-tied+expert",
    "unloaded-conv1d-adapted",
    "unloaded-extended",
)
ON_FOUR = (
    *("lpr", "lpr+replicated", "lpr-chunked-recomputed+expert", "lpr+expert-replicated"),
    *("odd", "ct", "full"),
)


def on_one(name: str) -> str:
    """Return the setting on one process that a setting on several must equal."""
    return name.partition("+")[0].removesuffix("-chunked-recomputed")


def run_processes(number: int, *arguments: object) -> None:
    command = [sys.executable, *_torchrun(number), str(TESTS / "train/processes/many_processes.py")]
    done = subprocess.run(
        [*command, *(str(a) for a in arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr


def _torchrun(number: int) -> list[str]:
    if number == 1:
        return []
    return ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={number}"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every setting on one, two and four processes, each in a folder of that number."""
    folder = tmp_path_factory.mktemp("trained")
    write_shards(folder / "text")
    compared = (*ON_TWO, *ON_FOUR) if is_thorough() else ON_TWO
    run_processes(1, folder / "text", folder / "1", *dict.fromkeys(map(on_one, compared)))
    run_processes(2, folder / "text", folder / "2", *ON_TWO, *ON_META)
    if is_thorough():
        run_processes(4, folder / "text", folder / "4", *ON_FOUR, *ON_META, ROUNDED)
    return folder


def assert_same_training(one: Path, other: Path) -> None:
    losses = [[r["loss"] for r in read_log(at)] for at in (one, other)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    tokens = [[(r["step"], r["tokens"]) for r in read_log(at)] for at in (one, other)]
    assert tokens[0] == tokens[1]
    norms = [[r["gradient_norm"] for r in read_log(at)] for at in (one, other)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    weights = [load_file(at / WEIGHTS) for at in (one, other)]
    assert weights[0].keys() == weights[1].keys()
    for key, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][key], atol=1e-5, rtol=0, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "name"),
    [
        *((2, name) for name in ON_TWO),
        *(pytest.param(4, name, marks=pytest.mark.thorough) for name in ON_FOUR),
    ],
)
def test_a_stage_is_the_same_on_one_process_and_on_several(
    trained: Path, number: int, name: str
) -> None:
    assert_same_training(trained / "1" / on_one(name), trained / str(number) / name)


@pytest.mark.slow
@pytest.mark.parametrize("number", [2, pytest.param(4, marks=pytest.mark.thorough)])
@pytest.mark.parametrize("name", ON_META)
def test_weights_that_each_process_reads_its_part_of_are_those_of_the_whole_model(
    trained: Path, number: int, name: str
) -> None:
    assert len(list((trained / str(number) / name).glob("filled-*"))) == number


@pytest.mark.slow
@pytest.mark.thorough
def test_shared_out_experts_learn_in_bfloat16(trained: Path) -> None:
    records = read_log(trained / "4" / ROUNDED)
    assert records[-1]["loss"] < records[0]["loss"] - 0.05
    exact = read_log(trained / "1" / "lpr")
    assert records[0]["loss"] == pytest.approx(exact[0]["loss"], abs=0.02)


@pytest.mark.slow
def test_several_micro_batches_communicate_as_often_as_one(trained: Path) -> None:
    four, two = (
        json.loads((trained / "2" / name / "collectives.json").read_text())
        for name in ("review", "review-micro2")
    )
    assert four["_reduce_scatter_base_"] == two["_reduce_scatter_base_"]
    assert four["_allgather_base_"] == two["_allgather_base_"]


@pytest.mark.slow
def test_frozen_parameters_have_no_gradients_to_communicate(trained: Path) -> None:
    found = json.loads((trained / "2" / "review" / "collectives.json").read_text())
    num_steps, num_routers = 10, 2
    assert found["_reduce_scatter_base_"] == num_steps * num_routers


@pytest.mark.thorough
@pytest.mark.slow
def test_a_stopped_stage_goes_on_with_another_number_of_processes(
    trained: Path, tmp_path: Path
) -> None:
    text = trained / "text"
    names = ["lpr", "lpr+expert"]  # one process alone shares nothing out
    run_processes(2, text, tmp_path, "--stop-after", 3, *names)
    run_processes(4, text, tmp_path, "--stop-after", 7, *names)
    run_processes(1, text, tmp_path, *names)
    for name in names:
        assert_same_training(trained / "1" / "lpr", tmp_path / name)


@pytest.mark.parametrize(
    ("mesh", "number", "experts", "words"),
    [
        ({"replicate": 4}, 6, (), "a multiple of 4 processes; there are 6"),
        ({"expert": 2, "replicate": 2}, 6, (4,), "2 copies of the model"),
        ({"expert": 2}, 4, (4, 3), "does not divide 3 new experts"),
        ({"expert": 2}, 1, (4,), "a multiple of 2 processes; there are 1"),
    ],
)
def test_a_mesh_that_does_not_fit_is_refused(
    mesh: dict[str, int], number: int, experts: tuple[int, ...], words: str
) -> None:
    with pytest.raises(TrainingError, match=words):
        check_mesh(Mesh.model_validate(mesh), number, experts)


def test_kernels_of_others_cannot_compute_experts_that_are_shared_out() -> None:
    settings = {"experts": "grouped_mm", "mesh": {"expert": 2}}
    with pytest.raises(ValidationError, match=r"with mesh\.expert 2 leave experts at auto"):
        Training.model_validate(settings)


def test_a_tensor_is_sharded_along_the_first_dimension_that_divides_evenly() -> None:
    stack = torch.nn.Parameter(torch.zeros(3, 40, 16))
    assert [_Placement(n)(stack).dim for n in (3, 8, 16, 7)] == [0, 1, 2, 0]
    with pytest.raises(TrainingError, match=r"no dimension of a stack \(3, 40, 16\)"):
        _Placement(3, first=1)(stack)


def test_a_run_whose_mesh_does_not_fit_ends_with_a_message(
    small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(small_recipe))
    mesh = ("--set", "training.mesh.replicate=2")
    done = langraft("train", path, "--out", tmp_path / "run", *mesh, check=False)
    assert done.returncode == 2
    assert "2 copies of the model (replicate)" in done.stderr
    assert "Traceback" not in done.stderr


def test_only_the_leader_holds_whole_weights_at_the_end() -> None:
    model: Any = grafted()
    parameters = dict(model.named_parameters())
    follower = Processes(1, 1, torch.device("cpu"))
    assert gather_tensors(parameters, follower) == {}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory, _small_recipe: dict[str, Any]) -> Path:
    """A recipe with a stage that is long enough to be killed in, trained once without that."""
    folder = tmp_path_factory.mktemp("killed")
    path = write_long_recipe(folder, _small_recipe, 15_000)
    command = [sys.executable, "-m", "langraft", "train", str(path)]
    subprocess.run([*command, "--out", folder / "whole"], check=True, env=ENVIRONMENT)
    return path


def train_and_kill_one(recipe: Path, out: Path, *options: str) -> int:
    stage = out / "train-extend"
    logs = ["--log-dir", f"{out}-logs", "--redirects=3"]
    script = [str(TESTS / "train/processes/killed_process.py"), str(stage)]
    verb = ["train", str(recipe), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, *_torchrun(2), "--monitor-interval=0.1", *logs, *options, *script, *verb],
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        timeout=400,
    )
    return done.returncode


def assert_as_if_nothing_had_happened(recipe: Path, out: Path) -> None:
    assert_same_training(recipe.parent / "whole/train-extend", out / "train-extend")


@pytest.mark.thorough
@pytest.mark.slow
def test_the_others_say_where_to_go_on_when_one_process_is_killed(
    recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert train_and_kill_one(recipe, out) != 0
    assert (out / "status-0").read_text() == "2"
    (log,) = Path(f"{out}-logs").glob("*/attempt_0/0/stderr.log")
    assert "another process of this run has ended" in log.read_text()
    assert "Traceback" not in log.read_text()
    last = sorted(out.glob("train-extend/checkpoints/step-*"))[-1]
    assert f"The last checkpoint is {last}. Run the same command again" in log.read_text()
    command = [sys.executable, "-m", "langraft", "train", str(recipe), "--out", str(out)]
    subprocess.run(command, check=True, env=ENVIRONMENT)
    assert_as_if_nothing_had_happened(recipe, out)


@pytest.mark.slow
@pytest.mark.thorough
def test_torchrun_starts_again_after_a_process_is_killed(recipe: Path, tmp_path: Path) -> None:
    assert train_and_kill_one(recipe, tmp_path / "run", "--max-restarts=3") == 0
    assert_as_if_nothing_had_happened(recipe, tmp_path / "run")


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize("script", ["examples/slurm.sbatch", "scripts/slurm"])
def test_what_is_for_slurm_is_a_valid_script(script: str) -> None:
    subprocess.run(["bash", "-n", Path(__file__).parents[3] / script], check=True)
