"""What GGUF cannot hold is refused when a run is planned, not after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from langraft.core.errors import ExportError
from langraft.core.settings.parse import parse_recipe
from langraft.export.folder import export_model
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import save
from langraft.graft.surgery import graft_model
from langraft.recipes.before_running import check_before_running
from langraft.recipes.load import REGISTRIES
from langraft.recipes.planning import plan_recipe
from langraft.tokenizers.extension import extend_tokenizer
from langraft.tokenizers.gguf_words import names_of_words
from tiny import VOCAB_SIZE, tiny_model
from tokenizers import Tokenizer, normalizers

GGUF: dict[str, Any] = {"gguf": ["q8_0"]}
GREEK = "το σπίτι είναι δίπλα στο ποτάμι"


def refusal(recipe: dict[str, Any]) -> str:
    """Return why a recipe is refused, which its plan and its run say alike."""
    parsed = parse_recipe(recipe, REGISTRIES)
    with pytest.raises(ExportError) as of_plan:
        plan_recipe(parsed)
    with pytest.raises(ExportError) as of_run:
        check_before_running(parsed)
    assert str(of_plan.value) == str(of_run.value)
    return str(of_plan.value)


def change_tokenizer(base: Path, normalizer: normalizers.Normalizer) -> None:
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.normalizer = normalizer
    tokenizer.save(str(base / "tokenizer.json"))


def test_words_of_an_own_tokenizer_without_a_name_are_refused(small_recipe: dict[str, Any]) -> None:
    small_recipe["export"] = GGUF
    plan_recipe(parse_recipe(small_recipe, REGISTRIES))
    small_recipe["base"]["tokenizer"]["words"] = "marks"
    message = refusal(small_recipe)
    assert message.startswith("export.gguf: base.tokenizer.words: marks: llama.cpp splits text")
    known = names_of_words()
    assert f"langraft knows the rules of {len(known)} names ({', '.join(known)})" in message
    assert "Leave export.gguf out, or take" in message
    assert message.endswith("words: gpt2.")
    small_recipe["export"] = GGUF | {"gguf": []}
    plan_recipe(parse_recipe(small_recipe, REGISTRIES))


@pytest.mark.parametrize("extension", [{}, {"tokenizer": {"new_tokens": 20}}])
def test_words_of_a_base_without_a_name_are_refused_as_its_export_is(
    extension: dict[str, Any],
    small_recipe: dict[str, Any],
    save_base: Callable[..., Path],
    tmp_path: Path,
) -> None:
    base = save_base()
    recipe = small_recipe | extension | {"base": str(base), "export": GGUF}
    recipe["stages"] = [{"name": "extend", "tokens": 512, "mixture": {"el": 1}, "lr": 1e-2}]
    plan_recipe(parse_recipe(recipe, REGISTRIES))
    change_tokenizer(base, normalizers.Lowercase())
    message = refusal(recipe)
    assert f"{base / 'tokenizer.json'}: llama.cpp splits text into words by rules" in message
    save(graft_model(tiny_model(), MoELPR()), tmp_path / "graft", base=base)
    with pytest.raises(ExportError) as of_export:
        export_model(tmp_path / "graft", tmp_path / "export", gguf=("q8_0",))
    assert str(of_export.value) == message
    assert not (tmp_path / "export").exists()


def test_an_extended_tokenizer_has_the_name_that_the_converter_knows_its_base_by(
    save_base: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conversion.base import TextModel
    from gguf import GGUFReader

    def name_of(_: object, tokenizer: Any) -> str:
        if len(tokenizer) != VOCAB_SIZE:  # as its hash: of the tokenizer that was released
            raise NotImplementedError
        return "falcon3"

    base = save_base()
    change_tokenizer(base, normalizers.Lowercase())
    assert len(AutoTokenizer.from_pretrained(base)) == VOCAB_SIZE
    extend_tokenizer(base, tmp_path / "extended", texts={"el": [GREEK] * 9}, num_new_tokens=8)
    model = graft_model(tiny_model(), MoELPR(), tokenizer=tmp_path / "extended")
    save(model, tmp_path / "graft", base=base)
    monkeypatch.setattr(TextModel, "get_vocab_base_pre", name_of)
    export_model(tmp_path / "graft", tmp_path / "export", gguf=("f32",))
    fields = GGUFReader(tmp_path / "export/model-f32.gguf").fields
    assert fields["tokenizer.ggml.pre"].contents() == "falcon3"


@pytest.mark.parametrize(
    "layers", [{"layers": [1]}, {"allocation": "probe_layers", "new_experts": 1}]
)
def test_layers_without_experts_are_refused_where_the_class_keeps_them(
    layers: dict[str, Any], small_recipe: dict[str, Any], save_base: Callable[..., Path]
) -> None:
    small_recipe["method"] |= layers
    plan_recipe(parse_recipe(small_recipe | {"base": str(save_base()), "export": GGUF}, REGISTRIES))
    message = refusal(small_recipe | {"base": str(save_base("qwen3")), "export": GGUF})
    assert message.startswith("export.gguf: llama.cpp knows no layers without experts")


@pytest.mark.parametrize("form", ["auto", "portable"])
def test_a_portable_graft_is_refused_with_advice_that_gguf_allows(
    form: Any, small_recipe: dict[str, Any], save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base("gemma2")
    small_recipe |= {"base": str(base), "export": GGUF | {"format": form}}
    message = refusal(small_recipe)
    assert message.startswith("export.gguf: llama.cpp runs classes that it has code for")
    assert ("no standard class holds a grafted 'gemma2'" in message) is (form == "auto")
    assert "Leave export.gguf out" in message
    assert "format: portable" not in message
    save(graft_model(tiny_model("gemma2"), MoELPR()), tmp_path / "graft", base=base)
    with pytest.raises(ExportError) as of_export:
        export_model(tmp_path / "graft", tmp_path / "export", wanted=form, gguf=("q8_0",))
    assert str(of_export.value) == message


def test_a_standard_format_that_there_is_not_is_refused_with_advice_that_gguf_allows(
    small_recipe: dict[str, Any], save_base: Callable[..., Path]
) -> None:
    small_recipe |= {"base": str(save_base("gemma2")), "export": GGUF | {"format": "standard"}}
    assert "Set export.format: portable (a folder with its own modelling file, without " in (
        refusal(small_recipe)
    )
