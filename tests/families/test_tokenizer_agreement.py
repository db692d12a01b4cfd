"""One tokenizer: what transformers loads is tokenizer.json, or the folder is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from langraft.core.errors import ModelError
from langraft.families.tokenizer_agreement import (
    check_architecture_takes_tokenizer,
    check_tokenizer_agrees,
)
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.tokenizers.training import train_tokenizer
from tokenizers import Tokenizer, processors

HINDI = "हिन्दी की किताबें मेज़ पर हैं और बच्चे पढ़ते हैं।"
TEXTS = {"en": ["the house stands by the river"], "hi": [HINDI]}


def make_folder(folder: Path, model_type: str = "llama", /, **config: Any) -> Path:
    folder.mkdir()
    train_tokenizer([HINDI, *TEXTS["en"]] * 9, 400, folder, words="marks")
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | config), "utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}), "utf-8")
    return folder


def add_template(folder: Path, template: str) -> None:
    path = str(folder / "tokenizer.json")
    library = Tokenizer.from_file(path)
    library.add_special_tokens(["<s>"])
    special = [("<s>", library.token_to_id("<s>"))]
    library.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    library.save(path)


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "qwen3", "mixtral", "qwen3_moe"])
def test_a_tokenizer_that_is_trained_here_is_taken_as_it_stands(
    tmp_path: Path, model_type: str
) -> None:
    check_tokenizer_agrees(make_folder(tmp_path / "base", model_type), TEXTS)


@pytest.mark.parametrize(
    ("model_type", "config", "name"),
    [
        ("qwen2", {}, "Qwen2Tokenizer"),  # by the type alone
        ("llama", {"tokenizer_class": "GPT2Tokenizer"}, "GPT2Tokenizer"),
        ("qwen3", {"tokenizer_class": "Qwen2Tokenizer"}, "Qwen2Tokenizer"),
    ],
)
def test_a_folder_with_two_tokenizers_is_refused_with_text_and_both_counts(
    tmp_path: Path, model_type: str, config: dict[str, str], name: str
) -> None:
    folder = make_folder(tmp_path / "base", model_type, **config)
    with pytest.raises(ModelError, match=rf"two tokenizers: of '.+' \(hi\).*{name}") as caught:
        check_tokenizer_agrees(folder, TEXTS)
    word = str(caught.value).split("'")[1]
    assert word in HINDI
    library: Any = AutoTokenizer.from_pretrained(folder)
    num_own = len(DocumentTokenizer(folder).encode([word])[0]) - 1
    assert f"tokenizer.json makes {num_own} tokens" in str(caught.value)
    assert f"which servers use, {len(library(word).input_ids)}" in str(caught.value)
    assert "AutoTokenizer.from_pretrained(folder).save_pretrained(copy)" in str(caught.value)


def test_the_advice_of_the_refusal_helps(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "base", "qwen2")
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "copy")
    (tmp_path / "copy" / "config.json").write_bytes((folder / "config.json").read_bytes())
    check_tokenizer_agrees(tmp_path / "copy", TEXTS)
    other = make_folder(tmp_path / "other", "llama", tokenizer_class="GPT2Tokenizer")
    config = json.loads((other / "tokenizer_config.json").read_text("utf-8"))
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    (other / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    check_tokenizer_agrees(other, TEXTS)


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize("flag", ["add_bos_token", "add_eos_token"])
@pytest.mark.parametrize("value", [True, False])
def test_special_tokens_are_those_of_the_file_whatever_the_config_says(
    tmp_path: Path, begins: bool, flag: str, value: bool
) -> None:
    folder = make_folder(tmp_path / "base", "llama", bos_token="<s>", **{flag: value})
    add_template(folder, "<s> $A" if begins else "$A")
    check_tokenizer_agrees(folder, TEXTS)
    (whole,) = DocumentTokenizer(folder).encode(["the house"])
    library: Any = AutoTokenizer.from_pretrained(folder)
    assert whole.tolist() == [*library("the house").input_ids, library.eos_token_id]
    assert (library.bos_token_id in whole) == begins


def test_a_class_that_begins_documents_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path / "base", bos_token="<s>")
    add_template(folder, "<s> $A")
    loaded: Any = AutoTokenizer.from_pretrained(folder)
    loaded.add_bos_token = False  # as a class of transformers might set it
    path = "langraft.families.tokenizer_agreement.load_tokenizer"
    monkeypatch.setattr(path, lambda folder: loaded)
    with pytest.raises(ModelError, match=r"begins a text with <s>.*with no special token"):
        check_tokenizer_agrees(folder, TEXTS)


@pytest.mark.parametrize("words", ["gpt2", "marks"])
def test_an_architecture_with_a_tokenizer_of_its_own_is_refused(words: Any) -> None:
    with pytest.raises(ModelError, match=r"given qwen2.*tokenizer.json makes .*llama or qwen3"):
        check_architecture_takes_tokenizer("qwen2", words)
    for architecture in ("llama", "qwen3", "gpt2", "mistral", "gemma2", "phi3"):
        check_architecture_takes_tokenizer(architecture, words)


def test_a_run_compares_both_on_its_own_text_before_any_is_tokenized(
    small_recipe: dict[str, Any], save_base: Callable[..., Path], tmp_path: Path
) -> None:
    from langraft.core.settings.parse import parse_recipe
    from langraft.recipes.load import REGISTRIES
    from langraft.recipes.planning import plan_recipe
    from langraft.recipes.run import run

    base = save_base("llama")
    config = json.loads((base / "tokenizer_config.json").read_text("utf-8"))
    config["tokenizer_class"] = "Qwen2Tokenizer"  # which has its own normalizer
    (base / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    settings = json.loads((base / "tokenizer.json").read_text("utf-8"))
    settings["normalizer"] = {"type": "Replace", "pattern": {"String": "τ"}, "content": "t"}
    (base / "tokenizer.json").write_text(json.dumps(settings), "utf-8")
    recipe = parse_recipe(small_recipe | {"base": str(base)}, REGISTRIES, "test")
    with pytest.raises(ModelError, match=r"two tokenizers.*\(el\).*Qwen2Tokenizer"):
        run(recipe, tmp_path / "run")
    assert not [*(tmp_path / "run" / "corpus").rglob("*.npy")]
    scratch = small_recipe["base"] | {"architecture": "qwen2"}
    recipe = parse_recipe(small_recipe | {"base": scratch}, REGISTRIES, "test")
    with pytest.raises(ModelError, match=r"base.architecture: given qwen2"):
        plan_recipe(recipe)
