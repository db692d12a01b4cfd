"""No verb deletes or overwrites what langraft did not make, and a run notices all that changed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from command_line import langraft
from langraft.export.delta import add_instruct_delta
from langraft.export.folder import export_model
from langraft.families.load import load_model
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import load, save
from langraft.graft.surgery import graft_model


def state(folder: Path) -> dict[str, str]:
    """Return the hash of every file in a folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def base(save_base: Callable[..., Path]) -> Path:
    return save_base()


@pytest.fixture
def graft(base: Path, tmp_path: Path) -> Path:
    """A graft beside its base, in a folder as a run leaves it."""
    folder = tmp_path / "run" / "graft"
    folder.parent.mkdir()
    save(graft_model(load_model(base), MoELPR(new_experts=2)), folder, base=base)
    return folder


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "novel.txt").write_text("ten years of work", encoding="utf-8")
    return folder


VERBS: dict[str, Callable[[Path, Path, Path, Path], list[Any]]] = {
    "export": lambda base, run, text, out: ["export", run, "--out", out],
    "export with base": lambda base, run, text, out: [
        *("export", run / "graft", "--base", base, "--out", out),
    ],
    "delta": lambda base, run, text, out: [
        *("delta", run, "--instruct", base, "--out", out),
    ],
    "detach": lambda base, run, text, out: ["detach", run, "--out", out],
    "tokenizer extend": lambda base, run, text, out: [
        *("tokenizer", "extend", base, "--text", f"el={text}", "--new-tokens", 8, "--out", out),
    ],
    "tokenizer report": lambda base, run, text, out: [
        *("tokenizer", "report", base, "--text", f"el={text}", "--out", out),
    ],
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "out", ["documents", "base-llama", "run", "run/graft", ".", "documents/.."]
)
def test_no_verb_replaces_what_is_not_its_own(
    verb: str,
    out: str,
    base: Path,
    graft: Path,
    documents: Path,
    text_folder: Path,
    tmp_path: Path,
) -> None:
    before = state(tmp_path)
    text = text_folder / "el.jsonl"
    arguments = VERBS[verb](base, graft.parent, text, tmp_path / out)
    done = langraft(*arguments, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert state(tmp_path) == before


@pytest.mark.parametrize("verb", ["run", "compare", "corpus", "instruct generate"])
def test_no_run_begins_among_files_of_somebody_else(
    verb: str, documents: Path, small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe = documents / "recipe.yaml"
    recipe.write_text("# my comment\n" + yaml.safe_dump(small_recipe), encoding="utf-8")
    before = state(documents)
    config = recipe
    if verb == "instruct generate":
        config = tmp_path / "c.yaml"
        teacher = {"name": "endpoint", "url": "http://127.0.0.1:9/v1", "model": "m"}
        config.write_text(yaml.safe_dump({"languages": ["el"], "teacher": teacher}))
    done = langraft(*verb.split(), config, "--out", documents, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert state(documents) == before


def test_a_picture_overwrites_no_file(
    documents: Path, small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(small_recipe), encoding="utf-8")
    before = state(documents)
    done = langraft("plan", recipe, "--picture", documents / "novel.txt", check=False)
    assert (done.returncode, state(documents)) == (2, before)


def test_verbs_replace_what_they_made(graft: Path, tmp_path: Path) -> None:
    for _ in range(2):
        langraft("export", graft.parent, "--out", tmp_path / "out")
    assert load_model(tmp_path / "out").config.architectures == ["MixtralForCausalLM"]


# Grafts that hold what is not theirs


@pytest.mark.parametrize(
    "name", ["model.embed_tokens.weight", "model.layers.0.mlp.original.up_proj.weight", "x.weight"]
)
def test_a_graft_that_holds_a_tensor_of_the_base_is_refused(
    name: str, base: Path, graft: Path, tmp_path: Path
) -> None:
    tensors = load_file(graft / "graft.safetensors")
    stored = dict(load_model(base).named_parameters()).get(name, torch.ones(3))
    tensors[name] = torch.ones_like(stored)
    save_file(tensors, graft / "graft.safetensors")
    message = f"holds 1 tensors that graft.json does not describe, for example {name}"
    for read in (
        load,
        lambda folder: export_model(folder, tmp_path / "out"),
        lambda folder: add_instruct_delta(folder, base, tmp_path / "out"),
    ):
        with pytest.raises(Exception, match=message):
            read(graft)
    assert not (tmp_path / "out").exists()


# Runs that notice what changed


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, tokenizer_folder: Path, _small_recipe: dict[str, Any]
) -> Path:
    """A run on the base of a folder, without baselines."""
    from tiny import tiny_model

    folder = tmp_path_factory.mktemp("finished")
    tiny_model("llama").save_pretrained(folder / "base")
    for path in tokenizer_folder.glob("tokenizer*"):
        shutil.copy(path, folder / "base" / path.name)
    recipe = _small_recipe | {"base": str(folder / "base"), "baselines": []}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    langraft("run", folder / "recipe.yaml", "--out", folder / "run")
    return folder


def would_run(finished: Path) -> set[str]:
    done = langraft(
        *("run", finished / "recipe.yaml", "--out", finished / "run", "--dry-run", "--json")
    )
    steps: dict[str, str] = json.loads(done.stdout)["steps"]
    return {step for step, what in steps.items() if what == "would run"}


def changed(name: str, content: bytes) -> bytes:
    """Return a file's content with another byte: the last of the weights, a blank behind JSON."""
    if name.endswith(".safetensors"):
        return content[:-2] + bytes([content[-2] ^ 1]) + content[-1:]
    return content + b" "


@pytest.mark.parametrize(
    ("name", "runs", "keeps"),
    [
        ("tokenizer.json", {"tokenizer", "corpus", "base", "train-extend", "export"}, set[str]()),
        ("tokenizer_config.json", {"tokenizer", "corpus"}, {"base"}),
        ("special_tokens_map.json", {"tokenizer"}, {"base"}),
        ("config.json", {"base", "train-extend"}, set[str]()),
        ("model.safetensors", {"base", "train-extend"}, {"tokenizer", "corpus"}),
        ("generation_config.json", {"evaluate-base", "export"}, {"base", "corpus", "train-extend"}),
        ("chat_template.jinja", {"evaluate-base", "export"}, {"base", "corpus", "train-extend"}),
    ],
)
def test_a_changed_file_of_the_base_reruns_what_read_it(
    finished: Path, name: str, runs: set[str], keeps: set[str]
) -> None:
    path = finished / "base" / name
    kept = path.read_bytes() if path.exists() else None
    assert would_run(finished) == set()
    try:
        path.write_bytes(changed(name, kept or b"{}"))
        found = would_run(finished)
    finally:
        if kept is None:
            path.unlink()
        else:
            path.write_bytes(kept)
    assert runs <= found
    assert not keeps & found


@pytest.mark.parametrize(
    ("change", "name", "runs"),
    [
        (
            {"corpus": {"filters": [{"name": "decontaminate", "paths": ["items.jsonl"]}]}},
            "items.jsonl",
            "corpus",
        ),
        ({"evaluate": {"mixed": "aligned.jsonl"}}, "aligned.jsonl", "evaluate-base"),
        (
            {"evaluate": {"texts": [{"name": "more", "path": "more.jsonl", "languages": ["en"]}]}},
            "more.jsonl",
            "evaluate-base",
        ),
        ({"corpus": {}}, "en.jsonl", "corpus"),
    ],
    ids=["items of a filter", "aligned text", "further text", "text"],
)
def test_a_changed_file_beside_the_base_reruns_what_read_it(
    change: dict[str, Any],
    name: str,
    runs: str,
    small_recipe: dict[str, Any],
    text_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from langraft.recipes.load import load_recipe
    from langraft.recipes.run import run

    monkeypatch.chdir(tmp_path)
    for path in text_folder.glob("*.jsonl"):
        shutil.copy(path, tmp_path)
    pair = {"en": "one two three", "el": "ένα δύο τρία", "hu": "egy ketto harom"}
    (tmp_path / "aligned.jsonl").write_text((json.dumps(pair) + "\n") * 16, encoding="utf-8")
    (tmp_path / "more.jsonl").write_text(json.dumps({"text": "a manual " * 9}) + "\n")
    (tmp_path / "items.jsonl").write_text(json.dumps({"text": "a b c " * 9}) + "\n")
    sources = [small_recipe["corpus"][0] | {"path": "{language}.jsonl"}]
    small_recipe["corpus"] = {"sources": sources, **change.get("corpus", {})}
    small_recipe["evaluate"] |= change.get("evaluate", {})
    small_recipe["baselines"] = []
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(small_recipe), encoding="utf-8")

    def steps(**options: Any) -> dict[str, str]:
        return run(load_recipe("recipe.yaml"), "run", until="evaluate", **options).steps

    steps()
    assert set(steps(is_dry=True).values()) == {"finished"}
    with (tmp_path / name).open("a", encoding="utf-8") as file:
        file.write((json.dumps(pair | {"text": "one more text of many words"}) + "\n") * 8)
    assert steps(is_dry=True)[runs] == "would run"
