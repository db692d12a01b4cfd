"""The main job as a user starts it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from command_line import langraft
from thorough import is_thorough

LANGRAFT = [sys.executable, "-m", "langraft"]
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def write_recipe(path: Path, recipe: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, _small_recipe: dict[str, Any]) -> Path:
    """One uninterrupted run of the small recipe."""
    folder = tmp_path_factory.mktemp("finished")
    recipe = write_recipe(folder / "small.yaml", _small_recipe)
    done = langraft("run", recipe, "--out", folder / "run", "--json")
    (folder / "stdout.json").write_text(done.stdout, encoding="utf-8")
    return folder


def test_an_identifier_shows_the_guard_and_the_switch(
    tmp_path: Path, small_recipe: dict[str, Any], fasttext_identifier: Path
) -> None:
    pairs = [
        {"en": "the house stands by the river", "el": "το σπίτι στο ποτάμι", "hu": "a ház mellett"}
    ] * 16
    (tmp_path / "aligned.jsonl").write_text("".join(json.dumps(p) + "\n" for p in pairs))
    evaluate = small_recipe["evaluate"] | {
        "identifier": str(fasttext_identifier),
        "mixed": str(tmp_path / "aligned.jsonl"),
        "texts": [
            {
                "name": "pairs",
                "path": str(tmp_path / "aligned.jsonl"),
                "languages": ["en"],
                "text_key": "en",
            }
        ],
    }
    recipe = write_recipe(tmp_path / "r.yaml", small_recipe | {"evaluate": evaluate})
    langraft("run", recipe, "--out", tmp_path / "run")
    methods = json.loads((tmp_path / "run/comparison.json").read_text())["methods"]
    assert list(methods) == ["moe_lpr", "full", "switch"]
    grafted, switch = methods["moe_lpr"], methods["switch"]
    assert grafted["guarded"]["errors"]["en"]["200"] == 0.0
    assert grafted["guarded"]["retention"] == 1.0 != grafted["retention"]
    assert methods["full"]["guarded"] is None
    assert switch["retention"] == 1.0
    assert switch["gain"] == pytest.approx(methods["full"]["gain"])
    assert switch["parameters"]["total"] == 2 * methods["full"]["parameters"]["total"]
    assert all(card["mixed"] is not None for card in methods.values())
    assert grafted["texts"]["pairs"]["retention"] != 1.0
    assert grafted["guarded"]["texts"]["pairs"]["retention"] == 1.0
    assert switch["texts"]["pairs"]["retention"] == 1.0
    report = (tmp_path / "run/report.html").read_text()
    assert "Retention, guarded" in report
    assert "Retention, pairs" in report
    assert "| English, pairs | en | original |" in (tmp_path / "run/export/README.md").read_text()
    answer = langraft(
        *("chat", tmp_path / "run", "--prompt", "the house", "--guard", "auto"),
        *("--identifier", fasttext_identifier, "--max-tokens", 4),
    )
    base = langraft("chat", tmp_path / "run/base/model", "--prompt", "the house", "--max-tokens", 4)
    assert answer.stdout == base.stdout


def test_a_run_leaves_what_others_build_on(finished: Path) -> None:
    run = finished / "run"
    for name in ("recipe.yaml", "scorecard.json", "comparison.json", "report.html"):
        assert (run / name).stat().st_size > 0
    for step in (
        "tokenizer",
        "corpus",
        "base",
        "train-extend",
        "evaluate-review",
        "graft",
        "export",
    ):
        assert (run / step / "manifest.json").is_file()
    comparison = json.loads((run / "comparison.json").read_text())
    assert list(comparison["methods"]) == ["moe_lpr", "full"]
    assert comparison["methods"]["moe_lpr"] == json.loads((run / "scorecard.json").read_text())
    printed = json.loads((finished / "stdout.json").read_text())
    assert printed["methods"] == comparison["methods"]
    card = comparison["methods"]["moe_lpr"]
    assert card["bits_per_byte"]["el"]["role"] == "new"
    assert card["bits_per_byte"]["tr"]["role"] == "transfer"
    assert card["gain"] > 0
    assert card["parameters"]["active"] < card["parameters"]["total"]


def test_weights_are_for_whom_the_other_files_of_a_run_are(finished: Path) -> None:
    run = finished / "run"
    usual = (run / "recipe.yaml").stat().st_mode
    files = [path for path in run.rglob("*") if path.is_file()]
    assert sum(path.suffix == ".safetensors" for path in files) > 4
    assert {p.relative_to(run) for p in files if p.stat().st_mode != usual} == set()


def test_a_finished_run_is_expanded_again_and_the_expansion_detached(
    finished: Path, tmp_path: Path, small_recipe: dict[str, Any]
) -> None:
    recipe = small_recipe | {
        "base": os.path.relpath(finished / "run/graft"),
        "languages": {"original": ["en", "el", "hu"], "new": ["tr"]},
        "stages": [
            {
                "name": "extend",
                "tokens": 512,
                "mixture": {"tr": 2, "en": 1, "el": 1, "hu": 1},
                "losses": {"balance": 0.01, "prior": 0.1},
            }
        ],
        "baselines": [],
    }
    file = write_recipe(tmp_path / "second.yaml", recipe)
    assert "moe_lpr" in langraft("plan", file).stdout
    langraft("run", file, "--out", tmp_path / "run")
    before = json.loads((finished / "run/evaluate-review/evaluation.json").read_text())["heldout"]
    card = json.loads((tmp_path / "run/scorecard.json").read_text())
    for code in ("en", "el", "hu"):  # what is before is the first graft, on another tokenized text
        assert card["bits_per_byte"][code]["role"] == "original"
        assert card["bits_per_byte"][code]["before"] == pytest.approx(
            before[code]["bits_per_byte"], abs=1e-4
        )
    config = json.loads((tmp_path / "run/export/config.json").read_text())
    assert (config["model_type"], config["num_local_experts"]) == ("mixtral", 5)

    done = langraft("detach", tmp_path / "run", "--out", tmp_path / "left")
    assert "without tr; new languages left: el, hu" in done.stdout
    left, first = (
        load_file(f / "graft.safetensors") for f in (tmp_path / "left", finished / "run/graft")
    )
    assert left.keys() == first.keys()
    assert all(torch.equal(left[name], first[name]) for name in first)
    again = langraft("detach", tmp_path / "left", "--out", tmp_path / "nothing", check=False)
    assert again.returncode == 2
    assert "expanded once" in again.stderr

    refused = write_recipe(tmp_path / "full.yaml", recipe | {"baselines": ["full"]})
    done = langraft("run", refused, "--out", tmp_path / "refused", check=False)
    assert done.returncode == 2
    assert "full has no router" in done.stderr
    assert not (tmp_path / "refused").exists()


def test_all_methods_train_on_the_same_tokens_in_the_same_order(finished: Path) -> None:
    manifests = [
        json.loads((finished / "run" / path / "train-extend/manifest.json").read_text())
        for path in (".", "baselines/full")
    ]
    assert manifests[0]["counts"]["tokens"] == manifests[1]["counts"]["tokens"]
    logs = [
        [json.loads(line)["loss_by_language"].keys() for line in path.read_text().splitlines()]
        for path in sorted((finished / "run").rglob("train-extend/log.jsonl"))
    ]
    assert logs[0] == logs[1]


def test_a_second_run_skips_everything_and_is_quick(finished: Path) -> None:
    started = time.monotonic()
    done = langraft("run", finished / "small.yaml", "--out", finished / "run", "--json")
    assert time.monotonic() - started < 30
    assert set(json.loads(done.stdout)["steps"].values()) == {"finished"}


def test_a_changed_key_reruns_only_what_depends_on_it(finished: Path) -> None:
    done = langraft(
        "run",
        *(finished / "small.yaml", "--out", finished / "run", "--dry-run", "--json"),
        *("--set", "stages[1].lr=1e-3"),
    )
    steps = json.loads(done.stdout)["steps"]
    kept = {step for step, state in steps.items() if state == "finished"}
    assert {"tokenizer", "corpus", "base", "evaluate-base", "train-extend"} <= kept
    assert not kept & {"train-review", "evaluate-review", "graft", "export"}
    done = langraft(
        "run",
        *(finished / "small.yaml", "--out", finished / "run", "--dry-run", "--json"),
        *("--set", "training.checkpoint_every=1"),
        *("--set", "training.activation_checkpointing=selective"),
    )
    assert set(json.loads(done.stdout)["steps"].values()) == {"finished"}


def test_settings_that_no_step_could_carry_out_are_refused_by_those_that_train(
    tmp_path: Path, small_recipe: dict[str, Any]
) -> None:
    pytest.importorskip("bitsandbytes")
    small_recipe["training"]["optimizer"] = "paged_adamw_8bit"
    recipe = write_recipe(tmp_path / "r.yaml", small_recipe)
    refused = langraft("run", recipe, "--out", tmp_path / "run", check=False)
    assert refused.returncode == 2
    assert "this machine trains on its CPU" in refused.stderr
    assert not (tmp_path / "run" / "tokenizer").exists()
    langraft("corpus", recipe, "--out", tmp_path / "run")


@pytest.mark.thorough
def test_codes_hold_what_is_frozen_and_leave_stages_alone_that_train_all(
    tmp_path: Path, small_recipe: dict[str, Any]
) -> None:
    pytest.importorskip("bitsandbytes")
    small_recipe["training"]["quantize_frozen"] = "int8"
    recipe = write_recipe(tmp_path / "r.yaml", small_recipe)
    langraft("run", recipe, "--out", tmp_path / "run")
    methods = json.loads((tmp_path / "run/comparison.json").read_text())["methods"]
    assert list(methods) == ["moe_lpr", "full"]


@pytest.mark.thorough
def test_kernels_of_training_do_not_reach_evaluation(
    tmp_path: Path, small_recipe: dict[str, Any]
) -> None:
    """A run that goes on behind a stage evaluates what a run does that starts there."""
    small_recipe["training"]["experts"] = "batched_mm"
    small_recipe["baselines"] = []
    recipe = write_recipe(tmp_path / "r.yaml", small_recipe)
    langraft("train", recipe, "--out", tmp_path / "stopped")
    for folder in ("stopped", "whole"):
        langraft("run", recipe, "--out", tmp_path / folder)
    stopped, whole = (tmp_path / folder for folder in ("stopped", "whole"))
    for found in whole.rglob("evaluate-*/*.json"):
        if found.name != "manifest.json":
            assert found.read_text() == (stopped / found.relative_to(whole)).read_text()


def test_the_resolved_recipe_runs_again_as_the_same_run(finished: Path) -> None:
    resolved = finished / "run" / "recipe.yaml"
    done = langraft("run", resolved, "--out", finished / "run", "--dry-run", "--json")
    assert set(json.loads(done.stdout)["steps"].values()) == {"finished"}


def test_chat_continues_a_text_from_run_graft_and_export_alike(finished: Path) -> None:
    run = finished / "run"
    answers = [
        langraft("chat", folder, "--prompt", "το σπίτι", "--max-tokens", 5).stdout
        for folder in (run, run / "graft", run / "export")
    ]
    assert answers[0].strip()
    assert answers[0] == answers[1] == answers[2]


def test_export_works_on_its_own_and_says_how_close_it_is(finished: Path, tmp_path: Path) -> None:
    done = langraft("export", finished / "run", "--out", tmp_path / "out", "--json")
    found = json.loads(done.stdout)
    assert found["architecture"] == "MixtralForCausalLM"
    assert found["largest_difference"] < 1e-5
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.slow
def test_kills_at_random_moments_change_no_bit_of_the_result(
    finished: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [*LANGRAFT, "run", str(finished / "small.yaml"), "--out", str(run)]
    chance = random.Random(0)
    num_kills = 0
    while num_kills < (10 if is_thorough() else 3):
        process = subprocess.Popen(
            [*command, "--set", "training.checkpoint_every=1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ONE_THREAD,
        )
        try:
            assert process.wait(timeout=chance.uniform(1.0, 9.0)) == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            num_kills += 1
        else:  # it got through before the next kill: that is one result; begin another run
            assert_same_grafts(finished / "run", run)
            shutil.rmtree(run)
    langraft("run", finished / "small.yaml", "--out", run)
    assert_same_grafts(finished / "run", run)


def assert_same_grafts(a: Path, b: Path) -> None:
    for name in ("graft/graft.safetensors", "baselines/full/graft/graft.safetensors"):
        whole, resumed = load_file(a / name), load_file(b / name)
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(whole[key], resumed[key]) for key in whole), name


@pytest.mark.thorough
@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path, small_recipe: dict[str, Any]) -> None:
    for stage in small_recipe["stages"]:
        stage["lr"] = 1e-3  # at 1e-2 AdamW makes more than 1e-5 of a last bit on some processors
    recipe = write_recipe(tmp_path / "small.yaml", small_recipe)
    langraft("train", recipe, "--out", tmp_path / "one")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*torchrun, "-m", "langraft", "train", recipe, "--out", tmp_path / "two"],
        capture_output=True,
        text=True,
        check=True,
        env=ONE_THREAD,
    )
    for stage in ("train-extend", "train-review", "baselines/full/train-extend"):
        one = load_file(tmp_path / "one" / stage / "weights.safetensors")
        two = load_file(tmp_path / "two" / stage / "weights.safetensors")
        assert one.keys() == two.keys()
        for name, tensor in one.items():
            torch.testing.assert_close(tensor, two[name], atol=1e-5, rtol=1e-5, msg=name)


def test_two_runs_at_once_in_one_folder_are_refused(finished: Path) -> None:
    from langraft.core.locks import lock

    with lock(finished / "run"):
        done = langraft("run", finished / "small.yaml", "--out", finished / "run", check=False)
    assert done.returncode == 2
    assert f"Another run (process {os.getpid()})" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminated_run_saves_says_so_and_goes_on(finished: Path, tmp_path: Path) -> None:
    slow = ["--set", "stages[0].tokens=200k", "--set", "baselines=[]", "--out", str(tmp_path / "r")]
    command = [*LANGRAFT, "run", str(finished / "small.yaml"), *slow]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ONE_THREAD)
    log = tmp_path / "r/train-extend/log.jsonl"
    deadline = time.monotonic() + 300
    while not (log.is_file() and log.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    stderr = process.communicate(timeout=400)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert "Run the same command again to go on" in stderr
    assert list((tmp_path / "r/train-extend/checkpoints").glob("step-*"))
