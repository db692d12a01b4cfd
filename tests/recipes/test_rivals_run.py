"""Runs with Source-Shielded Updates, merges with the base and frozen layers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from command_line import langraft
from langraft.core.errors import ModelError, RecipeError
from langraft.graft.store import load
from langraft.recipes.load import load_recipe
from langraft.recipes.run import run
from langraft.recipes.steps.columns import read_free_columns

EXTEND = {"name": "extend", "tokens": 640, "mixture": {"en": 1, "el": 2, "hu": 2}, "lr": 1e-2}
SSU = {"name": "ssu", "samples": 6}
FULL = {"name": "full", "merges": [0.25, 0.75], "frozen_layers": [1, 1]}


def write(path: Path, recipe: dict[str, Any], **changes: Any) -> Path:
    path.write_text(yaml.safe_dump(recipe | changes), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, _small_recipe: dict[str, Any]) -> Path:
    """A run of ssu, with new tokens, beside full with merges and a frozen layer."""
    folder = tmp_path_factory.mktemp("rivals")
    made = write(folder / "base.yaml", _small_recipe, baselines=[])
    langraft("train", made, "--out", folder / "base")
    recipe = write(
        folder / "recipe.yaml",
        _small_recipe,
        base=str(folder / "base/base/model"),
        tokenizer={"new_tokens": 20},
        method=SSU,
        stages=[EXTEND],
        baselines=[FULL],
        training=_small_recipe["training"] | {"weight_decay": 0.5},
    )
    langraft("run", recipe, "--out", folder / "run")
    return folder


def test_frozen_columns_are_the_bases_bits_in_graft_and_export(finished: Path) -> None:
    run = finished / "run"
    free = read_free_columns(run / "columns")
    base = load_file(finished / "base/base/model/model.safetensors")
    exported = load_file(run / "export/model.safetensors")
    assert len(free) == 2 * 7
    for name, places in free.items():
        before, after = base[f"{name}.weight"], exported[f"{name}.weight"]
        is_free = torch.zeros(before.shape[1], dtype=torch.bool)
        is_free[places] = True
        assert torch.equal(before[:, ~is_free], after[:, ~is_free]), name
        assert not torch.equal(before[:, is_free], after[:, is_free]), name
        assert is_free.sum() == before.shape[1] - before.shape[1] // 2
    norms = [name for name in base if "layers." in name and "norm" in name]
    assert norms
    assert all(torch.equal(base[name], exported[name]) for name in norms)
    rows = base["model.embed_tokens.weight"]
    assert not torch.equal(rows, exported["model.embed_tokens.weight"][: len(rows)])
    # The small form refers to the base for all that is frozen.
    held = load_file(run / "graft/graft.safetensors")
    assert not [name for name in held if name.endswith("proj.base.weight")]


def test_the_export_of_ssu_is_a_plain_model_of_the_bases_size(finished: Path) -> None:
    exported = AutoModelForCausalLM.from_pretrained(finished / "run/export")
    assert type(exported).__name__ == "LlamaForCausalLM"
    card = json.loads((finished / "run/scorecard.json").read_text())
    assert card["parameters"]["total"] == exported.num_parameters()
    assert card["parameters"]["active"] == exported.num_parameters()
    ids = torch.arange(1, 30)[None]
    with torch.no_grad():
        found = [m(input_ids=ids).logits for m in (exported, load(finished / "run/graft"))]
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)


def test_samples_are_training_text_of_original_languages_in_tokens_of_the_base(
    finished: Path,
) -> None:
    counts = json.loads((finished / "run/columns/manifest.json").read_text())["counts"]
    assert counts["rows"] == {"en": 6}
    assert counts["tokens"] == 6 * 32


def test_a_merge_lies_between_base_and_trained_model_and_new_rows_stay(
    finished: Path, tmp_path: Path
) -> None:
    at = finished / "run/baselines/full"
    out = tmp_path / "merged"
    done = langraft("merge", at, "--weight", 0.25, "--out", out)
    assert "0.25 of" in done.stdout
    base = AutoModelForCausalLM.from_pretrained(finished / "base/base/model").state_dict()
    trained, merged = load(at / "graft").state_dict(), load(out).state_dict()
    for name, tensor in trained.items():
        plain = name.replace(".base.", ".")
        expected = tensor
        if "new_rows" not in name:
            expected = torch.lerp(base[plain], tensor, 0.25)
        torch.testing.assert_close(merged[name], expected, atol=1e-7, rtol=0, msg=name)
    frozen = [name for name in trained if ".layers.1." in name]
    assert frozen
    assert all(torch.equal(merged[n], base[n]) and torch.equal(trained[n], base[n]) for n in frozen)
    langraft("export", out, "--out", tmp_path / "export")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "export")
    ids = torch.arange(1, 30)[None]
    with torch.no_grad():
        found = [m(input_ids=ids).logits for m in (exported, load(out))]
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)


def test_each_merge_has_a_scorecard_a_row_and_its_place_in_the_report(finished: Path) -> None:
    run = finished / "run"
    cards = json.loads((run / "comparison.json").read_text())["methods"]
    assert list(cards) == ["ssu", "full", "full_merge_0.25", "full_merge_0.75"]
    assert cards["full_merge_0.25"]["training_flops"] == cards["full"]["training_flops"]
    low, high = (
        {code: score["after"] for code, score in cards[key]["bits_per_byte"].items()}
        for key in ("full_merge_0.25", "full_merge_0.75")
    )
    assert low != high
    report = (run / "report.html").read_text()
    assert "The merge full_merge_0.25" in report
    assert report.count(">full_merge_0.75</span>") > 0  # its point in the chart
    assert "merge-0.25" in report  # among the steps


def test_a_finished_run_is_skipped_and_a_dry_run_names_the_steps(
    finished: Path, tmp_path: Path
) -> None:
    again = langraft("run", finished / "recipe.yaml", "--out", finished / "run", "--dry-run")
    assert "would run" not in again.stdout
    dry = langraft("run", finished / "recipe.yaml", "--out", tmp_path / "other", "--dry-run")
    steps = dry.stdout.splitlines()
    assert "would run columns" in steps
    assert "would run baselines/full/merge-0.25" in steps


def test_another_weight_of_a_merge_retrains_nothing(finished: Path, tmp_path: Path) -> None:
    recipe = yaml.safe_load((finished / "recipe.yaml").read_text())
    recipe["baselines"] = [FULL | {"merges": [0.5]}]
    changed = load_recipe(write(tmp_path / "recipe.yaml", recipe))
    steps = run(changed, finished / "run", is_dry=True).steps
    assert steps["baselines/full/train-extend"] == "finished"
    assert steps["baselines/full/merge-0.5"] == "would run"


@pytest.mark.thorough
def test_two_processes_train_and_merge_as_one(finished: Path) -> None:
    out = finished / "two"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    verb = ["-m", "langraft", "run", str(finished / "recipe.yaml"), "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *verb], check=True, capture_output=True, text=True, env=environment
    )
    assert "Every process loads the whole model" not in done.stderr  # each reads its part
    assert read_free_columns(out / "columns") == read_free_columns(finished / "run/columns")
    for path in ("train-extend", "baselines/full/train-extend"):
        one, two = (load_file(at / path / "weights.safetensors") for at in (finished / "run", out))
        assert one.keys() == two.keys()
        for name, tensor in one.items():
            torch.testing.assert_close(tensor, two[name], atol=2e-5, rtol=0, msg=name)
    cards = [
        json.loads((at / "comparison.json").read_text())["methods"]
        for at in (finished / "run", out)
    ]
    for key, card in cards[0].items():
        assert card["gain"] == pytest.approx(cards[1][key]["gain"], abs=1e-4)


def test_frozen_and_trained_weights_in_two_precisions_are_evaluated_together(
    finished: Path, small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    later = EXTEND | {"name": "later"}
    recipe = write(
        tmp_path / "r.yaml",
        small_recipe,
        base=str(finished / "base/base/model"),
        method=SSU,
        stages=[EXTEND, later],
        baselines=[FULL],
        training=small_recipe["training"] | {"dtype": "bfloat16"},
    )
    langraft("run", recipe, "--out", tmp_path / "run")
    cards = json.loads((tmp_path / "run/comparison.json").read_text())["methods"]
    assert all(card["gain"] > 0 for card in cards.values())
    base = load_file(finished / "base/base/model/model.safetensors")
    exported = load_file(tmp_path / "run/export/model.safetensors")
    for name, places in read_free_columns(tmp_path / "run/columns").items():
        frozen = sorted({*range(exported[f"{name}.weight"].shape[1])} - {*places})
        assert torch.equal(exported[f"{name}.weight"][:, frozen], base[f"{name}.weight"][:, frozen])


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"name": "full", "merges": [0]}, r"method\.merges\[0\]"),
        ({"name": "full", "merges": [1.0]}, r"method\.merges\[0\]"),
        ({"name": "full", "merges": [0.5, 0.5]}, "a weight is named twice"),
        ({"name": "full", "frozen_layers": [3, 1]}, "the first layer of the range comes after"),
        ({"name": "full", "frozen_layers": [1]}, r"method\.frozen_layers"),
        ({"name": "ssu", "frozen_share": 1}, r"method\.frozen_share"),
        ({"name": "ssu", "samples": 0}, r"method\.samples"),
        ({"name": "ssu", "token_rows": "some"}, r"method\.token_rows"),
        ({"name": "lora", "token_rows": "all"}, "with method.token_rows: all there are none"),
        ({"name": "moe_lpr", "token_rows": "all"}, "with method.token_rows: all there are none"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    method: dict[str, Any], message: str, small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    path = write(tmp_path / "r.yaml", small_recipe, method=method, stages=[EXTEND], baselines=[])
    with pytest.raises(RecipeError, match=message):
        load_recipe(path)


def test_a_layer_that_the_base_lacks_is_refused_before_anything_runs(
    small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    method = {"name": "full", "frozen_layers": [1, 2]}
    path = write(tmp_path / "r.yaml", small_recipe, method=method, stages=[EXTEND], baselines=[])
    done = langraft("run", path, "--out", tmp_path / "run", check=False)
    assert done.returncode == 2
    assert "names layer 2; the base has 2, counted from 0 to 1" in done.stderr


def test_what_has_no_counterpart_in_the_base_is_not_merged(finished: Path, tmp_path: Path) -> None:
    done = langraft(
        *("merge", finished / "run", "--weight", 0.5, "--out", tmp_path / "m"), check=False
    )
    assert done.returncode == 2
    assert "ssu has weights that its base has no counterpart of (columns)" in done.stderr
    full = finished / "run/baselines/full"
    done = langraft("merge", full, "--weight", 1, "--out", tmp_path / "m", check=False)
    assert done.returncode == 2
    assert "The weight of a merge is 1; allowed: between 0" in done.stderr


def test_columns_of_another_base_are_refused(finished: Path, tmp_path: Path) -> None:
    graft = finished / "run/graft"
    held = load_file(graft / "graft.safetensors")
    copy = tmp_path / "graft"
    copy.mkdir()
    for path in graft.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    (copy / "tokenizer").symlink_to((graft / "tokenizer").resolve())
    described = json.loads((graft / "graft.json").read_text())
    described["base"]["reference"] = str((finished / "base/base/model").resolve())
    (copy / "graft.json").write_text(json.dumps(described))
    name = next(n for n in held if n.startswith("langraft.free_columns") and "up_proj" in n)
    for wrong in ([3, 1], [0, 99], list(range(16))):
        save_file(held | {name: torch.tensor(wrong)}, copy / "graft.safetensors")
        with pytest.raises(ModelError, match="has 16 columns; its"):
            load(copy)
    save_file({n: t for n, t in held.items() if n != name}, copy / "graft.safetensors")
    with pytest.raises(ModelError, match="They were chosen on another base"):
        load(copy)


def test_a_plan_counts_what_trains_and_says_what_reading_costs(
    small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    method = SSU | {"samples": 10}
    path = write(tmp_path / "r.yaml", small_recipe, method=method, stages=[EXTEND])
    plans = json.loads(langraft("plan", path, "--json").stdout)
    ssu, full = plans["ssu"]["stages"][0], plans["full"]["stages"][0]
    assert ssu["trainable"] < full["trainable"]
    assert ssu["flops_per_token"] < full["flops_per_token"]
    assert ssu["memory_bytes"]["optimizer"] < full["memory_bytes"]["optimizer"]
    assert plans["ssu"]["parameters"]["total"] == plans["full"]["parameters"]["total"]
    assert any("reads 10 rows of original languages" in note for note in plans["ssu"]["notes"])
