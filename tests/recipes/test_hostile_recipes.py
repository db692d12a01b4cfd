"""Recipes that nobody means: each is one message, within a second or two, and never a traceback."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from rich.console import Console

from langraft.core.errors import ArtifactError, RecipeError
from langraft.recipes.load import load_recipe
from langraft.recipes.pipeline import Pipeline
from langraft.recipes.run_context import RunContext
from langraft.self_instruct.settings import load_settings
from langraft.train.processes.group import join_processes

RECIPE = """\
name: trial
languages: {original: [en], new: [el]}
corpus: [{source: files, path: x.txt, languages: [en, el]}]
method: moe_lpr
"""
BUDGET = RECIPE + "base: some/model\ntokens: 1M\n"
CONFIG = "languages: [el]\nteacher: {name: endpoint, address: 'http://localhost/v1', model: m}\n"
STAGE = "base: some/model\nstages: [{name: extend, tokens: 1M, mixture: {el: 1}}]\n"


def aliases(inner: str, first: str) -> str:
    lines = [f"a0: &a0 {first}"]
    for number in range(1, 10):
        each = ", ".join([f"*a{number - 1}"] * 10)
        lines.append(f"a{number}: &a{number} {inner.format(each)}")
    return "\n".join(lines)


def refusal(folder: Path, text: str, *changes: str) -> str:
    path = folder / "trial.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    started = time.process_time()
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, changes)
    assert time.process_time() - started < 10
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("seed: !!int abc", "'abc' is no value of YAML's type int"),
        ("seed: !!float x", "'x' is no value of YAML's type float"),
        ("seed: !!bool x", "'x' is no value of YAML's type bool"),
        ("seed: !!timestamp x", "'x' is no value of YAML's type timestamp"),
        ("seed: 2024-13-45", "'2024-13-45' is no value of YAML's type timestamp"),
        ("seed: " + "[" * 3000, "nest more than 50 deep"),
        ("seed: " + "{a: " * 3000, "nest more than 50 deep"),
        ("seed:\n  " + "- " * 3000 + "a", "nest more than 50 deep"),
        (aliases("[{}]", "[x, x]"), "aliases written out"),
        (aliases("{{<<: [{}]}}", "{x: 1}"), "aliases written out"),
        ("stages: &a [*a]", "an alias (*) stands inside the value that it names"),
        ("stages: &a {b: {c: *a}}", "an alias (*) stands inside the value that it names"),
        ("seed: 0x" + "f" * 500_000, "a number of more than 100 characters"),
        ("seed: 1" + ":1" * 250_000, "a number of more than 100 characters"),
        ("stages: [" + "1, " * 100_000 + "]", "more than 10,000 keys and values"),
        ("no: 1", "YAML reads this one as False: put it in quotes, 'no'"),
        ("~: 1", "YAML reads this one as None: put it in quotes, '~'"),
        ("2.5: 1", "YAML reads this one as 2.5: put it in quotes, '2.5'"),
        ("[a]: 1", "YAML reads this one as ['a']"),
        ("1: 1", "a key is text: put it in quotes"),
        ("seed: 1\nseed: 2", "the key 'seed' is given twice"),
        ('seed: "a\\0b"', r"the character '\x00' cannot be part of a text"),
        ('seed: "\\ud800"', r"the character '\ud800' cannot be part of a text"),
        ('"\\e[2J": 1', r"the character '\x1b' cannot be part of a text"),
        ("seed: 1e30", "seed: given '1e30'; a whole number is expected"),
        ("seed: 1.0e+30", "seed: given 1e+30; the number is too large"),
        ("seed: 4294967296", "less than or equal to 4294967295"),
        ("seed: " + "a" * 500_000, "a whole number is expected"),
        ("evaluate: {heldout: 1B}", "evaluate.heldout: given 1000000000; Input should be less"),
        ("export: {shard_bytes: 9e18}", "export.shard_bytes: given"),
        ("tokenizer: {new_tokens: 9999999999999}", "less than or equal to 1048576"),
        ("training: {batch_rows: 1e30}", "training.batch_rows: given"),
        ("training: {clip_norm: .inf}", "finite number"),
        ("training: {sequence_length: 16777217}", "less than or equal to 16777216"),
    ],
)
def test_what_no_recipe_can_mean_is_one_message(tmp_path: Path, line: str, words: str) -> None:
    message = refusal(tmp_path, BUDGET + line + "\n")
    assert words in message
    assert len(message) < 10_000


@pytest.mark.parametrize(
    ("given", "changed", "words"),
    [
        ("[en]", "[no]", "languages.original[0]: given False; YAML reads no, off and false as Fal"),
        ("new: [el]", "new: [on]", "languages.new[0]: given True; YAML reads yes, on and true as"),
        ("path: x.txt", "path: 2024-01-01", "YAML reads this as a date"),
        ("name: trial", "name: 7", "name: given 7; YAML reads this as a number"),
        ("name: trial", f"name: {'a' * 300}", "at most 100 characters"),
        ("name: trial", "name: .", "name: given '.'"),
        ("name: trial", "name: ..", "name: given '..'"),
        ("[en]", f"[en-{'abcde-' * 20}abcde]", "at most 35 characters"),
        ("path: x.txt", f"path: x.txt, label: {'a' * 101}", "100 at most"),
        ("path: x.txt", "path: x.txt, label: heldout.jsonl", "cannot end in .json, .jsonl, .npy"),
        ("path: x.txt", "path: x.txt, label: TOKEN_COUNTS.NPY", "cannot end in .json, .jsonl"),
        ("method: moe_lpr", "method: {name: moe_lpr, label: base}", "'base' cannot be the label"),
        (
            "method: moe_lpr",
            "method: full\nbaselines: [{name: moe_lpr, label: switch}]",
            "'switch' cannot be the label of a method: an identifier's choice",
        ),
    ],
)
def test_a_name_that_cannot_be_used_says_why(
    tmp_path: Path, given: str, changed: str, words: str
) -> None:
    assert given in BUDGET
    assert words in refusal(tmp_path, BUDGET.replace(given, changed))


def test_two_labels_that_differ_only_in_case_are_refused(tmp_path: Path) -> None:
    sources = "[{source: files, path: x, label: Wiki, languages: [en, el]}, "
    sources += "{source: files, path: y, label: wiki, languages: [el]}]"
    text = "\n".join(f"corpus: {sources}" if "corpus" in s else s for s in BUDGET.split("\n"))
    assert "the label 'wiki' is used twice" in refusal(tmp_path, text)


@pytest.mark.parametrize("where", ["stages", "baselines"])
def test_no_stage_can_be_called_base(tmp_path: Path, where: str) -> None:
    own = "[{name: base, tokens: 1M, mixture: {el: 1}, trains: everything}]"
    method = RECIPE.replace("method: moe_lpr", "method: lora")
    text = method + f"base: some/model\nstages: {own}\n"
    if where == "baselines":
        text = RECIPE + STAGE + f"baselines: [{{name: full, stages: {own}}}]\n"
    message = refusal(tmp_path, text)
    assert f"{where}" in message
    assert "no stage can be named 'base', because evaluate-base is the folder" in message


@pytest.mark.parametrize(
    "change",
    [
        "base.config.hidden_size=1e13",
        "base.config.hidden_size=.inf",
        "base.config.id2label={0: a}",
        "base.config.today=2024-01-01",
        "seed=[[[",
        "seed=!!int x",
        "seed=\0",
        "seed=\udcff",
        "a." * 100 + "a=1",
        f"corpus[{'9' * 5000}].path=x",
        "languages.new=[no]",
    ],
)
def test_a_change_that_no_recipe_can_mean_is_refused(tmp_path: Path, change: str) -> None:
    base = "base: {config: {}, stage: {name: base, tokens: 1M, mixture: {en: 1}}}\ntokens: 1M\n"
    assert refusal(tmp_path, RECIPE + base, change)


def test_a_large_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "huge.yaml").open("wb") as file:
        file.truncate(10**13)
    for read in (load_recipe, load_settings):
        with pytest.raises(RecipeError, match="larger than 1,048,576 bytes"):
            read(tmp_path / "huge.yaml")


@pytest.mark.parametrize("name", ["a" * 5000, "a\0b", "/dev/zero", ".", ""])
def test_a_name_that_is_no_file_is_told_so(name: str) -> None:
    with pytest.raises(RecipeError, match="There is no recipe"):
        load_recipe(name)
    with pytest.raises(RecipeError, match="There is no config"):
        load_settings(Path(name))


@pytest.mark.parametrize(
    "line",
    ["seed: 1e30", "rounds: 9999999999", "least_seeds: 2.5", "languages: {el: 1e30}", "no: 1"],
)
def test_a_config_of_self_instruct_has_the_same_limits(tmp_path: Path, line: str) -> None:
    text = CONFIG if "languages" not in line else CONFIG.partition("\n")[2]
    (tmp_path / "config.yaml").write_text(f"{text}{line}\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"config\.yaml"):
        load_settings(tmp_path / "config.yaml")


def test_mistakes_beyond_thirty_are_counted(tmp_path: Path) -> None:
    message = refusal(tmp_path, RECIPE + "base: some/model\nstages: [" + "1, " * 500 + "]\n")
    assert "stages[29]: given 1" in message
    assert "and 470 more mistakes" in message


def nothing(folder: Path) -> dict[str, int]:
    del folder
    return {}


def test_two_steps_of_a_run_cannot_share_a_folder(tmp_path: Path) -> None:
    (tmp_path / "trial.yaml").write_text(BUDGET, encoding="utf-8")
    recipe, console = load_recipe(tmp_path / "trial.yaml"), Console(quiet=True)
    run = RunContext(recipe, tmp_path / "out", join_processes(), console)
    pipeline = Pipeline(run, is_dry=True)
    for _ in range(2):  # the same step may be asked for by every method
        pipeline.step("evaluate-base", run.folder / "evaluate-base", {"model": "base"}, nothing)
    with pytest.raises(ArtifactError, match="would hold two steps of this run"):
        pipeline.step("evaluate-base", run.folder / "evaluate-base", {"model": "graft"}, nothing)


def labels(tmp_path: Path, *given: str) -> tuple[str, ...]:
    sources = ", ".join(
        f"{{source: files, path: x{n}, languages: [en, el]{label and f', label: {label}'}}}"
        for n, label in enumerate(given)
    )
    text = "\n".join(f"corpus: [{sources}]" if "corpus" in s else s for s in BUDGET.split("\n"))
    (tmp_path / "labels.yaml").write_text(text, encoding="utf-8")
    return load_recipe(tmp_path / "labels.yaml").corpus.labels


def test_a_numbered_label_is_never_one_that_is_given(tmp_path: Path) -> None:
    assert labels(tmp_path, "", "", "") == ("files", "files-2", "files-3")
    assert labels(tmp_path, "", "", "files-2") == ("files", "files-3", "files-2")
    assert labels(tmp_path, "files-2", "", "") == ("files-2", "files", "files-3")
    assert labels(tmp_path, "", "files") == ("files-2", "files")
    assert labels(tmp_path, "", "Files") == ("files-2", "Files")
