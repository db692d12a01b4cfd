from __future__ import annotations

import copy
import re
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.core.errors import RecipeError
from langraft.core.settings.recipe import Recipe
from langraft.recipes.load import dump_recipe, load_recipe, packaged_recipes
from thorough import examples

STAGED = """\
name: trial
base: some/model
languages: {original: [en], new: [el, hu]}
corpus:
  - {source: files, path: "data/{language}/*.txt", languages: [en, el]}
  - {source: files, path: hu.jsonl, languages: [hu]}
method: {name: moe_lpr, new_experts: 3}
stages:
  - {name: extend, tokens: 3M, mixture: {el: 1, hu: 1}}
  - {name: review, tokens: 60k, mixture: {en: 1, el: 2, hu: 1.3}, lr: 1e-5}
baselines: [full]
"""
BUDGET = STAGED.partition("stages:")[0] + "tokens: 1M\n"
SCRATCH = BUDGET.replace(
    "base: some/model",
    """\
base:
  architecture: llama
  config: {hidden_size: 16, pad_token_id: null}
  stage: {name: base, tokens: 10k, mixture: {en: 1}}""",
)


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "trial.yaml"
    path.write_text(STAGED, encoding="utf-8")
    return path


def refusal(path: Any, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


def test_a_recipe_is_read_from_its_file(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file)
    assert isinstance(recipe, Recipe)
    assert recipe.stages[0].tokens == 3_000_000
    assert recipe.stages[1].lr == 1e-5
    assert recipe.stages[1].losses == {"prior": 0.1}
    assert recipe.corpus.sources[0].path == "data/{language}/*.txt"


def test_a_dictionary_is_read_as_the_file_that_says_the_same(recipe_file: Path) -> None:
    given = yaml.safe_load(STAGED)
    before = copy.deepcopy(given)
    assert load_recipe(given) == load_recipe(recipe_file)
    assert load_recipe(given, ["method.new_experts=2"]).method.new_experts == 2
    assert given == before
    given["corpus"][1]["path"] = Path("hu.jsonl")
    given["languages"] = {key: tuple(codes) for key, codes in given["languages"].items()}
    assert load_recipe(MappingProxyType(given)) == load_recipe(recipe_file)


def test_mistakes_in_a_dictionary_are_told_as_those_of_a_file(recipe_file: Path) -> None:
    recipe_file.write_text(STAGED.replace("tokens: 3M", "token: 3M"), encoding="utf-8")
    given = yaml.safe_load(recipe_file.read_text(encoding="utf-8"))
    wanted = refusal(recipe_file).replace(str(recipe_file), "The recipe given")
    assert refusal(given) == wanted
    assert "stages[0].token: unknown key" in wanted


def itself() -> dict[str, Any]:
    given: dict[str, Any] = {"name": "x"}
    given["method"] = given
    return given


def nested() -> dict[str, Any]:
    given: dict[str, Any] = {}
    for _ in range(100_000):
        given = {"name": given}
    return given


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": object()}, "holds <object .* of type object. A recipe holds what YAML can say"),
        ({"name": "a\0b"}, "cannot be part of a text"),
        ({}, "this key is required"),
        ({None: 1}, "a key is text"),
        (itself(), "inside the value that it names"),
        (nested(), "too deep"),
        ({"name": [0] * 20_000}, "more than 10,000 keys and values"),
        ([1], "is of type list. Give the path of a YAML file, .*quickstart.* or a dictionary"),
        (None, "is of type NoneType"),
    ],
)
def test_what_no_recipe_can_hold_is_refused_of_a_dictionary_too(given: Any, words: str) -> None:
    message = refusal(given)
    assert message.startswith("The recipe given")
    assert re.search(words, message), message


def test_two_readings_of_a_recipe_are_equal(recipe_file: Path) -> None:
    assert load_recipe(recipe_file) == load_recipe(recipe_file)


@pytest.mark.parametrize("text", [STAGED, BUDGET, SCRATCH], ids=["stages", "budget", "scratch"])
def test_a_dumped_recipe_reads_back_equal(tmp_path: Path, text: str) -> None:
    (tmp_path / "given.yaml").write_text(text, encoding="utf-8")
    recipe = load_recipe(tmp_path / "given.yaml")
    (tmp_path / "dumped.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    again = load_recipe(tmp_path / "dumped.yaml")
    assert again.model_dump() == recipe.model_dump()
    assert again == recipe


@settings(max_examples=examples(15))
@given(
    tokens=st.integers(1, 10**13),
    weights=st.tuples(*[st.floats(1e-6, 1e6)] * 2),
    lr=st.floats(1e-9, 1.0),
)
def test_any_number_survives_dump_and_load(
    tmp_path_factory: pytest.TempPathFactory, tokens: int, weights: tuple[float, float], lr: float
) -> None:
    folder = tmp_path_factory.mktemp("numbers")
    stage = f"{{name: extend, tokens: {tokens}, mixture: {{el: {weights[0]}, hu: {weights[1]}}}"
    text = STAGED.partition("stages:")[0] + f"stages:\n  - {stage}, lr: {lr}}}\n"
    (folder / "given.yaml").write_text(text, encoding="utf-8")
    recipe = load_recipe(folder / "given.yaml")
    assert recipe.stages[0].tokens == tokens
    assert tuple(recipe.stages[0].mixture.values()) == weights
    assert recipe.stages[0].lr == lr
    (folder / "dumped.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(folder / "dumped.yaml").model_dump() == recipe.model_dump()


# Overrides


def test_an_override_sets_a_key_of_a_group_that_is_not_written(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, ["evaluate.heldout=5k", "seed=7"])
    assert recipe.evaluate.heldout == 5000
    assert recipe.seed == 7


def test_an_override_reaches_into_lists(recipe_file: Path) -> None:
    recipe = load_recipe(
        recipe_file,
        ["stages[0].lr=1e-4", "stages.1.tokens=70k", "corpus[1].path=other.txt"],
    )
    assert recipe.stages[0].lr == 1e-4
    assert recipe.stages[1].tokens == 70_000
    assert recipe.corpus.sources[1].path == "other.txt"


def test_an_override_replaces_a_whole_list_or_group(recipe_file: Path) -> None:
    recipe = load_recipe(
        recipe_file, ["languages.original=[en, hu]", "languages.new=[el]", "baselines=[]"]
    )
    assert recipe.languages.original == ("en", "hu")
    assert recipe.baselines == ()
    assert load_recipe(recipe_file, ["stages[1].mixture={el: 3}"]).stages[1].mixture == {"el": 3.0}


def test_an_exponent_without_a_point_is_a_number(recipe_file: Path) -> None:
    recipe = load_recipe(recipe_file, ["training.clip_norm=1e-4", "stages[0].lr=2E-3"])
    assert recipe.training.clip_norm == 1e-4
    assert recipe.stages[0].lr == 2e-3


def test_later_overrides_win(recipe_file: Path) -> None:
    assert load_recipe(recipe_file, ["seed=1", "seed=2"]).seed == 2


def test_an_override_of_a_bare_method_name_keeps_the_name(tmp_path: Path) -> None:
    path = tmp_path / "bare.yaml"
    path.write_text(BUDGET.replace("{name: moe_lpr, new_experts: 3}", "moe_lpr"), encoding="utf-8")
    method = load_recipe(path, ["method.new_experts=2"]).method
    assert (method.name, method.new_experts) == ("moe_lpr", 2)


def test_an_override_of_a_bare_baseline_keeps_the_name(recipe_file: Path) -> None:
    (baseline,) = load_recipe(recipe_file, ["baselines[0].token_rows=frozen"]).baselines
    assert (baseline.name, baseline.token_rows) == ("full", "frozen")


def test_an_override_of_a_group_left_empty_fills_it(tmp_path: Path) -> None:
    path = tmp_path / "empty_group.yaml"
    path.write_text(STAGED + "evaluate:\n", encoding="utf-8")
    assert load_recipe(path, ["evaluate.samples=3"]).evaluate.samples == 3


@pytest.mark.parametrize("index", ["2", "17"])
def test_an_override_past_the_end_of_a_list_is_refused(recipe_file: Path, index: str) -> None:
    message = refusal(recipe_file, f"stages[{index}].lr=1")
    assert f"--set stages[{index}].lr=1" in message
    assert "list of 2 entries" in message


def test_an_override_names_the_key_that_a_list_does_not_have(recipe_file: Path) -> None:
    message = refusal(recipe_file, "corpus.path=x.txt")
    assert "'path'" in message
    assert "list of 2 entries" in message


@pytest.mark.parametrize(
    "override", ["languages.new[0].name=el", "languages.new[0].name.x=el", "corpus.².path=x"]
)
def test_an_override_below_a_plain_value_is_refused(recipe_file: Path, override: str) -> None:
    assert f"--set {override}" in refusal(recipe_file, override)


@pytest.mark.parametrize("override", ["seed", "=3", "", " = "])
def test_an_override_is_key_equals_value(recipe_file: Path, override: str) -> None:
    message = refusal(recipe_file, override)
    assert "expected key=value" in message
    assert "stages[0].lr=1e-4" in message


def test_an_override_that_is_no_yaml_is_refused(recipe_file: Path) -> None:
    message = refusal(recipe_file, "languages.new=[el")
    assert "--set languages.new=[el" in message
    assert "not valid YAML" in message


def test_an_override_with_an_unknown_key_gets_the_nearest_spelling(recipe_file: Path) -> None:
    message = refusal(recipe_file, "training.batch_row=8")
    assert "training.batch_row: unknown key. Did you mean 'batch_rows'?" in message


@settings(max_examples=examples(60))
@given(
    key=st.lists(
        st.sampled_from(["stages", "[0]", "[1]", "corpus", "name", "languages", "new", "base"]),
        min_size=1,
        max_size=4,
    ).map(".".join),
    value=st.sampled_from(["1", "x", "[1]", "{a: 1}", "", "null"]),
)
def test_any_override_is_carried_out_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any_override.yaml"
    path.write_text(STAGED, encoding="utf-8")
    try:
        found: object = load_recipe(path, [f"{key}={value}"])
    except RecipeError as error:
        found = str(error)
    assert isinstance(found, Recipe) or "any_override.yaml" in found or "--set" in found


# Files that are no recipe


def test_a_missing_file_is_answered_with_the_packaged_recipes(tmp_path: Path) -> None:
    message = refusal(tmp_path / "nowhere.yaml")
    assert "nowhere.yaml" in message
    assert all(name in message for name in packaged_recipes())


def test_a_folder_is_no_recipe(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path)
    (tmp_path / "recipe.yaml").touch()
    assert f"Its recipe is {tmp_path / 'recipe.yaml'}" in refusal(tmp_path)


@pytest.mark.parametrize("name", packaged_recipes())
def test_every_packaged_recipe_loads_by_its_name(name: str) -> None:
    assert isinstance(load_recipe(name), Recipe)


def test_a_recipe_may_repeat_itself_by_reference(recipe_file: Path) -> None:
    text = STAGED.replace("method: {", "method: &own {").replace(
        "baselines: [full]", "baselines: [full, {<<: *own, label: more, new_experts: 4}]"
    )
    recipe_file.write_text(text, encoding="utf-8")
    more = load_recipe(recipe_file).baselines[1]
    assert (more.key, more.model_dump()["new_experts"]) == ("more", 4)


def test_a_misspelt_packaged_recipe_gets_the_nearest_name() -> None:
    name = packaged_recipes()[0]
    assert f"Did you mean {name!r}?" in refusal(name[:-1])


def test_a_file_that_is_no_yaml_says_where(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("name: trial\nlanguages: {original: [en\n", encoding="utf-8")
    message = refusal(path)
    assert "broken.yaml is not valid YAML" in message
    assert "line 2" in message


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: été\n".encode("latin-1"))
    message = refusal(path)
    assert "latin.yaml" in message
    assert "UTF-8" in message


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b\n", "list"), ("just words\n", "str")])
def test_yaml_that_is_no_mapping_is_refused(tmp_path: Path, text: str, kind: str) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(text, encoding="utf-8")
    message = refusal(path)
    assert f"holds {kind}" in message
    assert "begins with name:" in message


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("", encoding="utf-8")
    assert "begins with name:" in refusal(path)


def test_a_key_written_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text(STAGED + "seed: 1\nseed: 2\n", encoding="utf-8")
    assert "seed" in refusal(path)


def test_an_unknown_suite_gets_the_nearest_spelling(recipe_file: Path) -> None:
    message = refusal(recipe_file, "evaluate.suites=[almanak]")
    assert "evaluate.suites[0]: given 'almanak'" in message
    assert "Did you mean 'almanac'?" in message
    assert "trial.yaml" in message
