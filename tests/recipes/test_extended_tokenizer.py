"""A whole run whose recipe extends the base's tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from langraft.core.artifacts import read_manifest
from langraft.core.errors import ModelError, RecipeError
from langraft.core.settings.parse import parse_recipe
from langraft.core.settings.recipe import Recipe
from langraft.corpus.storage.shards import open_stream
from langraft.evaluate.evaluation import Evaluation
from langraft.export.folder import export_model
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import load, save
from langraft.graft.surgery import graft_info, graft_model
from langraft.recipes.load import REGISTRIES
from langraft.recipes.planning import plan_recipe
from langraft.recipes.run import run
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.tokenizers.extension import Extension, extend_tokenizer
from tiny import VOCAB_SIZE

NEW = 100
STAGE = {"name": "extend", "tokens": 512, "mixture": {"el": 1, "hu": 1}, "lr": 1e-2}


def recipe_of(data: dict[str, Any], **changes: Any) -> Recipe:
    return parse_recipe(data | {"tokenizer": {"new_tokens": NEW}} | changes, REGISTRIES, "test")


@pytest.fixture
def extended_run(
    small_recipe: dict[str, Any], save_base: Callable[..., Path], tmp_path: Path
) -> tuple[Recipe, Path]:
    recipe = recipe_of(small_recipe, base=str(save_base()), stages=[STAGE])
    run(recipe, tmp_path / "run")
    return recipe, tmp_path / "run"


def test_a_run_extends_trains_evaluates_and_exports(
    extended_run: tuple[Recipe, Path], small_recipe: dict[str, Any], tmp_path: Path
) -> None:
    recipe, folder = extended_run
    assert recipe.stages[0].trains == ("experts", "routers", "token_rows", "new_rows")
    extension = Extension.read(folder / "tokenizer")
    assert len(extension.tokens) == read_manifest(folder / "tokenizer").counts["new_tokens"] == NEW
    greek = open_stream(folder / "corpus", "el").token_counts
    assert greek[VOCAB_SIZE:].sum() > 0.1 * greek.sum()

    before, after = (
        Evaluation.read(folder / f"evaluate-{name}").heldout for name in ("base", "extend")
    )
    assert after["el"].num_bytes == before["el"].num_bytes
    assert after["el"].num_tokens < 0.9 * before["el"].num_tokens
    assert after["en"].num_tokens == before["en"].num_tokens
    card = json.loads((folder / "scorecard.json").read_text())
    assert card["bits_per_byte"]["el"]["after"] < card["bits_per_byte"]["el"]["before"]

    model = load(folder / "graft")
    assert graft_info(model).rare_tokens
    assert max(graft_info(model).rare_tokens) < VOCAB_SIZE
    exported: Any = AutoModelForCausalLM.from_pretrained(folder / "export")
    ids = torch.from_numpy(DocumentTokenizer(folder / "tokenizer").encode(["το σπίτι"])[0])[None]
    assert ids.max() >= VOCAB_SIZE
    with torch.no_grad():
        torch.testing.assert_close(exported(ids).logits, model(ids).logits, atol=1e-4, rtol=1e-4)
    states = set(run(recipe, folder).steps.values())
    assert states == {"finished"}

    later = small_recipe | {
        "base": str(folder / "graft"),
        "languages": {"original": ["en", "el", "hu"], "new": ["tr"]},
        "baselines": [],
        "stages": [{"name": "extend", "tokens": 256, "mixture": {"tr": 1}, "lr": 1e-2}],
    }
    later["method"] = {"name": "moe_lpr", "new_experts": 1, "token_rows": "rare"}
    with pytest.raises(ModelError, match="a model holds one extension"):
        run(recipe_of(later), tmp_path / "again")
    run(parse_recipe(later, REGISTRIES, "test"), tmp_path / "later")
    evaluated = Evaluation.read(tmp_path / "later" / "evaluate-extend").heldout
    assert evaluated["el"].num_tokens < before["el"].num_tokens
    twice = load(tmp_path / "later" / "graft")
    assert twice.config.vocab_size == VOCAB_SIZE + NEW
    assert max(graft_info(twice).rare_tokens) < VOCAB_SIZE


def test_an_export_has_as_many_tokens_as_rows(
    save_base: Callable[..., Path], text_folder: Path, tmp_path: Path
) -> None:
    """Converters to GGUF want a token for each row, also where the base had rows to spare."""
    base = save_base(vocab_size=VOCAB_SIZE + 7)
    texts = {
        code: [
            json.loads(line)["text"]
            for line in (text_folder / f"{code}.jsonl").read_text("utf-8").splitlines()
        ]
        for code in ("el", "hu")
    }
    extension = extend_tokenizer(base, tmp_path / "tokenizer", texts=texts, num_new_tokens=40)
    assert extension.first_new_id == VOCAB_SIZE + 7
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    grafted = graft_model(model, MoELPR(new_experts=1), tokenizer=tmp_path / "tokenizer")
    save(grafted, tmp_path / "graft", base=str(base))
    export_model(tmp_path / "graft", tmp_path / "export")
    exported: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "export")
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "export")
    num_rows = VOCAB_SIZE + 7 + 40
    assert exported.config.vocab_size == len(exported.get_input_embeddings().weight) == num_rows
    assert len(tokenizer) == num_rows
    assert sorted(tokenizer.get_vocab().values()) == list(range(num_rows))
    text = texts["el"][0]
    assert (
        tokenizer(text).input_ids
        == DocumentTokenizer(tmp_path / "tokenizer").encode_prompts([text])[0].tolist()
    )
    tokenizer.add_special_tokens({"pad_token": "<|pad|>"})
    assert tokenizer.pad_token_id == num_rows


def test_a_plan_counts_the_new_rows_before_there_is_a_tokenizer(
    small_recipe: dict[str, Any], save_base: Callable[..., Path]
) -> None:
    small_recipe["stages"] = [STAGE]
    base = str(save_base(tie_word_embeddings=True))
    with_rows, without = (
        plan_recipe(recipe_of(small_recipe, base=base, **changes))[0]
        for changes in ({}, {"tokenizer": None})
    )
    more = NEW * 16  # rows times width
    assert with_rows.parameters.total == without.parameters.total + more
    assert with_rows.parameters.trainable == without.parameters.trainable + more
    # A token meets them once forward, once backward and once for their gradient.
    assert with_rows.stages[0].flops_per_token == without.stages[0].flops_per_token + 6 * more


def test_a_tokenizer_that_cannot_be_extended_is_refused_before_anything_runs(
    small_recipe: dict[str, Any], save_base: Callable[..., Path]
) -> None:
    base = save_base()
    settings = json.loads((base / "tokenizer.json").read_text("utf-8"))
    settings["model"] = {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}
    (base / "tokenizer.json").write_text(json.dumps(settings), "utf-8")
    with pytest.raises(ModelError, match="its model is WordLevel, not BPE"):
        plan_recipe(recipe_of(small_recipe, base=str(base), stages=[STAGE]))


def test_new_rows_and_the_extension_come_together(small_recipe: dict[str, Any]) -> None:
    small_recipe["base"] = "somewhere"
    silent = [STAGE | {"trains": ["experts", "routers"]}]
    with pytest.raises(RecipeError, match="no stage trains the rows of the tokens"):
        recipe_of(small_recipe, stages=silent)
    named = [STAGE | {"trains": ["experts", "routers", "new_rows"]}]
    assert recipe_of(small_recipe, stages=named).stages[0].trains == (
        "experts",
        "routers",
        "new_rows",
    )
    with pytest.raises(RecipeError, match="no tokens are added; set tokenizer"):
        recipe_of(small_recipe, stages=named, tokenizer=None)
