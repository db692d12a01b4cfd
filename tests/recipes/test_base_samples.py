"""The base writes its own replay: from (seed, batch) alone, resumable and counted."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from langraft.core.artifacts import read_manifest
from langraft.core.errors import CorpusError, LangraftError, RecipeError
from langraft.recipes.load import load_recipe
from langraft.recipes.run import run
from langraft.recipes.steps import base_samples
from tiny import tiny_model

SAMPLES: dict[str, Any] = {
    "source": "base_samples",
    "label": "own",
    "languages": ["en"],
    "tokens": 400,
    "sample_tokens": 24,
    "batch_size": 8,
}


@pytest.fixture
def make_recipe(
    small_recipe: dict[str, Any],
    save_base: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Path]:
    """Return a function that writes a recipe with a pretrained base that writes its replay."""
    base = save_base()
    monkeypatch.chdir(tmp_path)

    def make(**changes: Any) -> Path:
        recipe = small_recipe | {"base": str(base), "baselines": []}
        recipe["corpus"] = [*small_recipe["corpus"], SAMPLES | changes]
        stage = {"name": "extend", "tokens": 512, "mixture": {"el": 3, "en/own": 1}, "lr": 1e-2}
        recipe["stages"] = [stage | {"losses": {"balance": 0.01, "retain": 1.0}}]
        (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
        return tmp_path / "recipe.yaml"

    return make


def written(folder: Path) -> list[str]:
    lines = (folder / "samples/own/en.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


def test_a_run_writes_replay_trains_on_it_and_counts_it(
    make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    run(load_recipe(make_recipe()), tmp_path / "run", until="train")
    texts = written(tmp_path / "run")
    counts = read_manifest(tmp_path / "run/samples/own").counts["en"]
    assert counts["documents"] == len(texts) == len(set(texts))
    assert 400 <= counts["tokens"] < 400 + 8 * 25
    assert not (tmp_path / "run/samples/own/batches").exists()
    heldout = (tmp_path / "run/corpus/en/heldout.jsonl").read_text(encoding="utf-8")
    assert not {json.loads(line)["text"] for line in heldout.splitlines()} & set(texts)
    read = read_manifest(tmp_path / "run/corpus").counts["en"]["sources"]["own"]
    assert read["read_documents"] == len(texts)
    assert read_manifest(tmp_path / "run/train-extend").counts["epochs"]["en/own"] > 0
    log = (tmp_path / "run/train-extend/log.jsonl").read_text().splitlines()
    assert all("en" in json.loads(line).get("divergence", {"en": 0}) for line in log)


def test_a_stopped_step_goes_on_and_writes_the_same(
    make_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(make_recipe())
    run(recipe, tmp_path / "whole", until="corpus")
    calls: list[int] = []
    write_batch = base_samples._Writer.batch

    def stop_in_the_second(self: Any, code: str, number: int) -> Any:
        calls.append(number)
        if calls == [0, 1]:
            raise KeyboardInterrupt
        return write_batch(self, code, number)

    monkeypatch.setattr(base_samples._Writer, "batch", stop_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "stopped", until="corpus")
    run(recipe, tmp_path / "stopped", until="corpus")
    assert calls[:3] == [0, 1, 1]
    assert written(tmp_path / "stopped") == written(tmp_path / "whole")
    whole, stopped = (read_manifest(tmp_path / n / "corpus") for n in ("whole", "stopped"))
    assert whole.files == stopped.files
    again = run(recipe, tmp_path / "whole", until="corpus")
    assert set(again.steps.values()) == {"finished"}
    other = load_recipe(make_recipe(temperature=0.5))
    assert run(other, tmp_path / "whole", until="corpus", is_dry=True).steps == {
        "samples/own": "would run",
        "tokenizer": "finished",
        "corpus": "would run",
    }


def test_texts_continue_prompts_and_begin_with_a_given_token(
    make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "en.txt").write_text("the house stands by the river\nthe old man walks home\n")
    prompts = {"prompts": str(tmp_path / "{language}.txt"), "prompt_tokens": 3}
    run(load_recipe(make_recipe(**prompts)), tmp_path / "prompted", until="corpus")
    starts = {text[:6] for text in written(tmp_path / "prompted")}
    assert starts == {"the ho", "the ol"}
    with pytest.raises(CorpusError, match="begin is '<none>', which is no token of the base"):
        run(load_recipe(make_recipe(begin="<none>")), tmp_path / "unknown", until="corpus")


def test_samples_follow_the_distribution_of_the_base(
    make_recipe: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(make_recipe(tokens=6000, batch_size=256, sample_tokens=8))
    found: list[int] = []
    generate = type(tiny_model()).generate

    def note_first_tokens(self: Any, **inputs: Any) -> Any:
        rows = generate(self, **inputs)
        found.extend(rows[:, inputs["input_ids"].shape[1]].tolist())
        return rows

    monkeypatch.setattr(type(tiny_model()), "generate", note_first_tokens)
    run(recipe, tmp_path / "run", until="corpus")
    from langraft.families.load import load_model

    model = load_model(Path(str(recipe.base)))
    begin = base_samples.DocumentTokenizer(Path(str(recipe.base)))
    first = begin.begin_ids or (begin.end_of_text_id,)
    with torch.no_grad():
        wanted_V = model(torch.tensor([first])).logits[0, -1].softmax(-1)
    counts_V = torch.bincount(torch.tensor(found), minlength=len(wanted_V)).double()
    likely = wanted_V.topk(5).indices
    expected = wanted_V[likely].double() * len(found)
    assert ((counts_V[likely] - expected).abs() < 5 * expected.sqrt() + 3).all()


def test_a_base_that_only_repeats_itself_is_refused_instead_of_awaited(
    make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(make_recipe(temperature=1e-6, tokens=10_000, sample_tokens=8))
    with pytest.raises(CorpusError, match="only repeated itself or wrote nothing"):
        run(recipe, tmp_path / "run", until="corpus")


def test_wrong_settings_are_refused_before_anything_is_written(
    make_recipe: Callable[..., Path], small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="say how many the base shall write"):
        load_recipe(make_recipe(tokens=None))
    with pytest.raises(RecipeError, match="name one language"):
        load_recipe(make_recipe(languages=["en", "hu"]))
    with pytest.raises(RecipeError, match=r"own: .* have up to 50001 tokens; the base"):
        run(load_recipe(make_recipe(sample_tokens=50_000)), tmp_path / "run")
    scratch = small_recipe | {"corpus": [*small_recipe["corpus"], SAMPLES]}
    (tmp_path / "scratch.yaml").write_text(yaml.safe_dump(scratch))
    with pytest.raises(RecipeError, match="needs a base that is there already"):
        run(load_recipe(tmp_path / "scratch.yaml"), tmp_path / "run")
    with pytest.raises(LangraftError, match=r"base_samples.: .*none.en.jsonl does not exist"):
        run(load_recipe(make_recipe(path=str(tmp_path / "none"))), tmp_path / "run")


def test_another_run_reads_what_one_has_written(
    make_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    run(load_recipe(make_recipe()), tmp_path / "first", until="corpus")
    other = load_recipe(make_recipe(path=str(tmp_path / "first/samples/own"), tokens=None))
    run(other, tmp_path / "second", until="corpus")
    counts = read_manifest(tmp_path / "second/corpus").counts["en"]["sources"]["own"]
    assert counts["read_documents"] == len(written(tmp_path / "first"))
    assert not (tmp_path / "second/samples").exists()
    kept = (tmp_path / "first/samples/own/en.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    (tmp_path / "first/samples/own/en.jsonl").write_text("\n".join(kept), encoding="utf-8")
    found = run(other, tmp_path / "second", until="corpus", is_dry=True)
    assert found.steps["corpus"] == "would run"
