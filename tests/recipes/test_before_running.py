"""What is refused before anything is spent: by plan, dry run and run alike."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from langraft.core.errors import (
    ArtifactError,
    CorpusError,
    ExportError,
    LangraftError,
    MissingExtraError,
    ModelError,
    RecipeError,
    TrainingError,
    UserError,
)
from langraft.core.settings.parse import parse_recipe
from langraft.plan import disk
from langraft.plan.hardware import Hardware
from langraft.recipes.before_running import check_base_values, check_before_running
from langraft.recipes.load import REGISTRIES
from langraft.recipes.pipeline import Pipeline
from langraft.recipes.planning import plan_recipe
from langraft.recipes.run import run
from langraft.recipes.run_context import RunContext
from langraft.train.processes.group import Processes

Tensors = dict[str, torch.Tensor]


@pytest.fixture
def recipe_data(small_recipe: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """Return a recipe on a base in a folder."""

    def of(base: Path, **changes: Any) -> dict[str, Any]:
        data = small_recipe | {"base": str(base), "baselines": []} | changes
        data["languages"] = {"original": ["en", "tr"], "new": ["el", "hu"]}
        return data

    return of


def change_weights(base: Path, change: Callable[[Tensors], Tensors]) -> None:
    path = base / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def refused(data: dict[str, Any], error: type[LangraftError], match: str, folder: Path) -> None:
    """Check that plan, dry run and run refuse a recipe alike and write nothing."""
    recipe = parse_recipe(data, REGISTRIES)
    for attempt in (
        lambda: plan_recipe(recipe),
        lambda: run(recipe, folder, is_dry=True),
        lambda: run(recipe, folder),
    ):
        with pytest.raises(error, match=match):
            attempt()
    assert not folder.exists()


def truncate(base: Path) -> None:
    path = base / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def keep_only_pickle(base: Path) -> None:
    (base / "model.safetensors").rename(base / "pytorch_model.bin")


def index_a_missing_file(base: Path) -> None:
    (base / "model.safetensors").unlink()
    weight_map = {"model.norm.weight": "model-00002-of-00002.safetensors"}
    index = {"metadata": {}, "weight_map": weight_map}
    (base / "model.safetensors.index.json").write_text(json.dumps(index))


def take_away(name: str) -> Callable[[Path], None]:
    return lambda base: change_weights(base, lambda t: {n: x for n, x in t.items() if n != name})


@pytest.mark.parametrize(
    ("spoil", "error", "match"),
    [
        (truncate, ArtifactError, "is damaged"),
        (keep_only_pickle, ModelError, "holds no safetensors weights"),
        (index_a_missing_file, ArtifactError, r"00002\.safetensors does not exist"),
        (take_away("model.norm.weight"), ModelError, r"does not store model\.norm\.weight"),
        (
            lambda base: change_weights(base, lambda t: {n: x.double() for n, x in t.items()}),
            ArtifactError,
            "as F64",
        ),
        (
            lambda base: change_weights(base, lambda t: {n: x[:4] for n, x in t.items()}),
            ModelError,
            r"embed_tokens\.weight has the shape \(4, 16\)",
        ),
    ],
    ids=["truncated", "pickle", "a missing shard", "a missing tensor", "float64", "other shapes"],
)
def test_weights_that_cannot_be_loaded_or_exported_are_refused(
    spoil: Callable[[Path], None],
    error: type[LangraftError],
    match: str,
    save_base: Callable[..., Path],
    recipe_data: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    base = save_base()
    spoil(base)
    refused(recipe_data(base), error, match, tmp_path / "run")


def test_weights_of_another_dtype_are_no_matter_without_an_export(
    save_base: Callable[..., Path], recipe_data: Callable[..., dict[str, Any]]
) -> None:
    base = save_base()
    change_weights(base, lambda t: t | {"model.norm.weight": t["model.norm.weight"].double()})
    data = recipe_data(base, export={"format": "none"})
    check_before_running(parse_recipe(data, REGISTRIES))


@pytest.mark.parametrize("family", ["gpt2", "bloom"])
def test_rows_beyond_learned_positions_are_refused(
    family: str,
    save_base: Callable[..., Path],
    recipe_data: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    data = recipe_data(save_base(family))
    data["training"]["sequence_length"] = 257
    if family == "bloom":  # ALiBi has no end
        check_before_running(parse_recipe(data, REGISTRIES))
        return
    refused(data, RecipeError, "has learned 256 positions. Set at most 256", tmp_path / "run")


def test_a_base_that_is_trained_here_has_its_positions_and_rows_checked(
    small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    small_recipe["base"]["config"]["vocab_size"] = 100
    refused(small_recipe, ModelError, "ids up to 319; .* has 100 rows", tmp_path / "run")
    small_recipe["base"]["architecture"] = "gpt2"
    small_recipe["base"]["config"] = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16}
    refused(small_recipe, RecipeError, "learned 16 positions", tmp_path / "run")


def test_token_ids_beyond_the_embedding_are_refused(
    save_base: Callable[..., Path], recipe_data: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    data = recipe_data(save_base(vocab_size=300))
    refused(data, ModelError, "ids up to 319; the embedding of the base has 300", tmp_path / "run")


@pytest.mark.parametrize("config", [{"num_hidden_layers": 0}, {"intermediate_size": 0}])
def test_a_model_without_ffns_is_refused(
    config: dict[str, int], small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    small_recipe["base"]["config"] |= config
    refused(small_recipe, ModelError, "no decoder layer|0 FFNs", tmp_path / "run")


@pytest.mark.parametrize("stage", [0, 1])
def test_a_stage_that_trains_nothing_is_refused(stage: int, small_recipe: dict[str, Any]) -> None:
    small_recipe["stages"][stage]["trains"] = []
    with pytest.raises(RecipeError, match="given no group, so nothing would train; name every"):
        parse_recipe(small_recipe, REGISTRIES)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinite_weights_are_refused_when_a_run_starts(
    value: float,
    save_base: Callable[..., Path],
    recipe_data: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    base = save_base()
    path = base / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.1.mlp.up_proj.weight"][3, 3] = value
    save_file(tensors, path, metadata={"format": "pt"})
    recipe = parse_recipe(recipe_data(base), REGISTRIES)
    check_before_running(recipe)  # reads headers only
    with pytest.raises(ModelError, match=r"layers\.1\.mlp\.up_proj\.weight holds NaN or inf"):
        run(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "corpus").exists()


def test_a_tied_matrix_that_is_stored_twice_with_other_values_is_refused(
    save_base: Callable[..., Path], recipe_data: Callable[..., dict[str, Any]]
) -> None:
    base = save_base(tie_word_embeddings=True)
    change_weights(base, lambda t: t | {"lm_head.weight": t["model.embed_tokens.weight"] + 1})
    with pytest.raises(ModelError, match=r"Set that to false in config\.json"):
        check_base_values(parse_recipe(recipe_data(base), REGISTRIES))


def test_a_full_disk_is_noted_in_the_plan_and_refuses_the_run(
    save_base: Callable[..., Path],
    recipe_data: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe = parse_recipe(recipe_data(save_base()), REGISTRIES)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    folder = tmp_path / "run"
    assert "has 0.0 GiB free" in " ".join(plan_recipe(recipe, folder=folder)[0].notes)
    for is_dry in (True, False):
        with pytest.raises(ArtifactError, match=r"disk has 0\.0 GiB free\. Make room"):
            run(recipe, folder, is_dry=is_dry)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    run(recipe, folder, is_dry=True)


def test_text_that_a_run_would_refuse_is_noted_in_the_plan(
    save_base: Callable[..., Path], recipe_data: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("id,body\n1,a text of some words\n", encoding="utf-8")
    sources = [
        {"source": "files", "path": str(tmp_path / name), "languages": [code]}
        for code, name in (("en", "a.csv"), ("el", "missing.txt"))
    ]
    address = {"source": "files", "path": "https://nowhere.invalid/a.txt", "languages": ["el"]}
    sources.append(address | {"label": "web"})
    data = recipe_data(save_base())
    recipe = parse_recipe(data | {"corpus": [*data["corpus"], *sources]}, REGISTRIES)
    (note,) = [note for note in plan_recipe(recipe)[0].notes if "would be refused" in note]
    assert "no column 'text'" in note
    assert "missing.txt" in note
    with pytest.raises(CorpusError, match="no column 'text'"):
        check_before_running(recipe)


def test_the_planned_bytes_are_about_those_that_a_run_writes(
    save_base: Callable[..., Path],
    recipe_data: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned: list[int] = []

    def note(num_bytes: int, folder: Path) -> str:
        del folder
        planned.append(num_bytes)
        return ""

    monkeypatch.setattr("langraft.recipes.before_running.why_no_room", note)
    folder = tmp_path / "run"
    run(parse_recipe(recipe_data(save_base("gpt2")), REGISTRIES), folder)
    weights = sum(path.stat().st_size for path in folder.rglob("*.safetensors"))
    assert weights * 0.9 < planned[0] < weights * 5  # checkpoints are gone at the end


def test_too_little_text_is_said_before_the_base_is_scored(
    save_base: Callable[..., Path], recipe_data: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    data = recipe_data(save_base("gpt2"))
    stages = [stage | {"max_epochs": 0.1} for stage in data["stages"]]
    folder = tmp_path / "run"
    with pytest.raises(CorpusError, match="there are only"):
        run(parse_recipe(data | {"stages": stages}, REGISTRIES), folder)
    assert {path.name for path in folder.iterdir()} == {
        ".lock",
        "corpus",
        "recipe.yaml",
        "tokenizer",
    }


def test_what_servers_leave_out_of_the_base_is_said_in_the_plan(
    recipe_data: Callable[..., dict[str, Any]], save_base: Callable[..., Path]
) -> None:
    base = save_base(hidden_act="gelu")
    said = {
        wanted: " ".join(
            plan_recipe(parse_recipe(recipe_data(base, export=export), REGISTRIES))[0].notes
        )
        for wanted, export in (
            ("auto", {}),
            ("portable", {"format": "portable"}),
            ("none", {"format": "none"}),
        )
    }
    assert "compute SiLU in experts" in said["auto"]
    assert "a tensor of its own" not in said["auto"]
    tied = save_base(tie_word_embeddings=True)
    for wanted, is_said in (("separate", True), ("keep", False)):
        recipe = parse_recipe(recipe_data(tied, export={"tied": wanted}), REGISTRIES)
        notes = " ".join(plan_recipe(recipe)[0].notes)
        assert ("own (0.0 MB), since some servers never tie" in notes) is is_said
    assert "vLLM serves it with --trust-remote-code" in said["portable"]
    assert "vLLM" not in said["none"]


def test_all_mistakes_in_the_text_are_shown_at_once(
    small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "en.jsonl").write_text('{"body": "The sea is calm."}\n')
    (tmp_path / "tr.txt").write_bytes("Deniz çok güzel, şişe ağır.\n".encode("cp1254"))
    entries = [
        {"source": "files", "path": f"{tmp_path}/{name}", "languages": languages}
        for name, languages in (
            ("{language}.jsonl", ["en", "el"]),
            ("tr.txt", ["tr"]),
            ("gone/*.csv", ["hu"]),
        )
    ]
    recipe = parse_recipe(small_recipe | {"corpus": entries}, REGISTRIES)
    for is_dry in (True, False):
        with pytest.raises(CorpusError) as caught:
            run(recipe, tmp_path / "run", is_dry=is_dry)
        first, *mistakes = str(caught.value).splitlines()
        assert first == "4 mistakes in the text of the recipe:"
        assert "'body' looks like text (set `text_key: body`)" in mistakes[0]
        assert f"No such file: {tmp_path}/el.jsonl" in mistakes[1]
        assert "tr.txt is not UTF-8" in mistakes[2]
        assert "No file matches" in mistakes[3]
    assert not (tmp_path / "run").exists()
    plan_recipe(recipe)  # the text need not be where a run is planned


def test_one_mistake_in_the_text_is_shown_alone(
    small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    small_recipe["corpus"] += [
        {"source": "files", "path": f"{tmp_path}/gone.txt", "languages": ["en"]}
    ]
    with pytest.raises(CorpusError, match=r"^No such file: "):
        check_before_running(parse_recipe(small_recipe, REGISTRIES))


@pytest.mark.parametrize(
    ("training", "error", "match"),
    [
        ({"batch_rows": 6, "micro_rows": 2}, TrainingError, r"micro_rows 2 x 2 processes"),
        ({"mesh": {"expert": 3}}, TrainingError, "over a multiple of 3 processes; there are 2"),
        ({"quantize_frozen": "int8"}, RecipeError, "in one process, and there are 2"),
    ],
    ids=["a batch", "a mesh", "8 bits"],
)
def test_what_processes_cannot_share_is_refused_before_any_text_is_read(
    training: dict[str, Any],
    error: type[LangraftError],
    match: str,
    save_base: Callable[..., Path],
    recipe_data: Callable[..., dict[str, Any]],
    tmp_path: Path,
) -> None:
    data = recipe_data(save_base())
    data["training"] = data["training"] | training
    recipe = parse_recipe(data, REGISTRIES)
    processes = Processes(rank=0, world_size=2, device=torch.device("cpu"))
    for is_dry in (True, False):
        context = RunContext(recipe, tmp_path / "run", processes, Console(quiet=True))
        with pytest.raises(error, match=match):
            Pipeline(context, is_dry=is_dry).prepare("report")
    assert not (tmp_path / "run").exists()
    notes = plan_recipe(recipe, Hardware(num_devices=2))[0].notes
    assert "2 devices cannot train this" in notes[0]


def test_a_tracker_that_is_not_installed_is_refused_first_and_noted_in_the_plan(
    save_base: Callable[..., Path],
    recipe_data: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    data = recipe_data(save_base())
    data["training"] = data["training"] | {"track": ["tensorboard"]}
    recipe = parse_recipe(data, REGISTRIES)
    notes = " ".join(plan_recipe(recipe)[0].notes)
    assert "a run here would be refused. training.track: tensorboard needs" in notes
    for is_dry in (True, False):
        with pytest.raises(MissingExtraError, match="'tensorboard'"):
            run(recipe, tmp_path / "run", is_dry=is_dry)
    assert not (tmp_path / "run" / "corpus").exists()


def test_rows_beyond_the_context_of_a_base_that_computes_positions_are_noted(
    save_base: Callable[..., Path], recipe_data: Callable[..., dict[str, Any]]
) -> None:
    data = recipe_data(save_base())
    for length, is_noted in ((256, False), (257, True)):
        data["training"]["sequence_length"] = length
        notes = plan_recipe(parse_recipe(data, REGISTRIES))[0].notes
        assert any("made for 256 positions" in note for note in notes) == is_noted


def test_a_standard_export_that_no_class_holds_is_refused(
    save_base: Callable[..., Path], recipe_data: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    data = recipe_data(save_base("gpt2"), export={"format": "standard"})
    refused(data, ExportError, "gpt2", tmp_path / "run")


def test_a_suite_whose_folder_has_no_data_is_refused(
    save_base: Callable[..., Path], recipe_data: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    pytest.importorskip("lm_eval")
    wanted = {"heldout": 100, "suites": ["polylm"], "data_dir": str(tmp_path / "none")}
    data = recipe_data(save_base(), evaluate=wanted)
    refused(data, UserError, "none", tmp_path / "run")
