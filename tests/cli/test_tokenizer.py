"""``langraft tokenizer``: train, extend, report."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from langraft.cli.main import app
from langraft.core.errors import CorpusError, RecipeError
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.tokenizers.extension import Extension


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["tokenizer", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def recipe_path(small_recipe: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(small_recipe), encoding="utf-8")
    return path


def test_train_writes_a_tokenizer_balanced_by_the_exponent(
    small_recipe: dict[str, Any], text_folder: Path, tmp_path: Path
) -> None:
    """With little Greek, a small exponent gives it more of the vocabulary than a large one."""
    texts = tmp_path / "text"
    texts.mkdir()
    for code in ("en", "el", "hu", "tr"):
        lines = (text_folder / f"{code}.jsonl").read_text("utf-8").splitlines(keepends=True)
        kept = lines[:2] if code == "el" else lines
        (texts / f"{code}.jsonl").write_text("".join(kept), "utf-8")
    small_recipe["corpus"][0]["path"] = str(texts / "{language}.jsonl")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(small_recipe), "utf-8")
    counts: dict[str, int] = {}
    for exponent in ("0", "1"):
        out = tmp_path / exponent
        call("train", recipe, "--out", out, "--vocab-size", "330", "--exponent", exponent)
        (tokens,) = DocumentTokenizer(out).encode(["το σπίτι είναι δίπλα στο ποτάμι"])
        counts[exponent] = len(tokens)
    assert counts["0"] < counts["1"]


def test_a_base_may_be_trained_with_an_exponent_but_not_with_a_mixture_too(
    small_recipe: dict[str, Any], tmp_path: Path, recipe_path: Path
) -> None:
    changes = ["--set", "base.tokenizer.exponent=0.3", "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, ["corpus", str(recipe_path), *changes])
    assert result.exit_code == 0, result.output
    with pytest.raises(RecipeError, match="give either `mixture` or `exponent`"):
        CliRunner().invoke(
            app,
            ["corpus", str(recipe_path), *changes, "--set", "base.tokenizer.mixture={en: 1}"],
            catch_exceptions=False,
        )


def test_extend_learns_from_files_or_a_recipe(
    save_base: Callable[..., Path], text_folder: Path, tmp_path: Path, recipe_path: Path
) -> None:
    base = save_base()
    greek, english = (f"{code}={text_folder / f'{code}.jsonl'}" for code in ("el", "en"))
    arguments = ("extend", base, "--out", tmp_path / "a", "--new-tokens", "40", "--json")
    found = json.loads(call(*arguments, "--text", greek, "--original", english))
    assert found == {"folder": str(tmp_path / "a"), "new_tokens": 40, "first_new_id": 320}
    assert len(Extension.read(tmp_path / "a").tokens) == 40
    said = call("extend", base, "--out", tmp_path / "b", "--recipe", recipe_path)
    assert "(the text gives no 8,000), ids from 320" in said


@pytest.fixture
def extended(save_base: Callable[..., Path], text_folder: Path, tmp_path: Path) -> list[str]:
    """Return two tokenizers, the second extended on Greek, as the command line names them."""
    base = save_base()
    text = f"el={text_folder / 'el.jsonl'}"
    call("extend", base, "--out", tmp_path / "more", "--new-tokens", "100", "--text", text)
    return [f"before={base}", str(tmp_path / "more")]


def test_report_compares_tokenizers_on_files(
    extended: list[str], text_folder: Path, tmp_path: Path
) -> None:
    texts = [f"--text={code}={text_folder / f'{code}.jsonl'}" for code in ("en", "el")]
    table = call("report", *extended, *texts)
    assert table.split()[:3] == ["language", "tokenizer", "bytes/token"]
    assert "Greek" in table
    assert "parity" not in table
    found = json.loads(call("report", *extended, *texts, "--json"))
    assert list(found) == ["before", "more"]
    before, after = (found[name]["el"] for name in found)
    assert after["bytes_per_token"] > 1.5 * before["bytes_per_token"]
    assert after["partial_share"] <= before["partial_share"]
    assert found["before"]["en"] == found["more"]["en"]


def test_report_measures_parity_on_aligned_text_and_draws(
    extended: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "aligned.jsonl.gz"
    records = [
        {"id": "1", "en": "the house", "el": "το σπίτι"},
        {"id": "2", "en": "the river", "el": "το ποτάμι"},
        {"id": "3", "en": "the road"},
    ]
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)
    options = ("--aligned", path, "--languages", "en,el", "--out", tmp_path / "out")
    assert "parity" in call("report", *extended, *options)
    found = json.loads((tmp_path / "out" / "tokenizers.json").read_text("utf-8"))
    assert found["before"]["en"]["parity"] == found["more"]["en"]["parity"] == 1
    assert 0 < found["more"]["el"]["parity"] < found["before"]["el"]["parity"]
    assert found["more"]["en"]["num_words"] == 6
    assert found["more"]["el"]["num_words"] == 4
    picture = (tmp_path / "out" / "tokenizers.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", picture[16:24])
    assert width > 1000
    assert height > 200


def test_report_reads_the_text_of_a_recipe(extended: list[str], recipe_path: Path) -> None:
    found = json.loads(call("report", *extended, "--recipe", recipe_path, "--json"))
    assert list(found["more"]) == ["en", "el", "hu", "tr"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((), RecipeError, "Say once which text is read"),
        (("--text", "el=a.jsonl", "--recipe", "quickstart"), RecipeError, "Say once"),
        (("--text", "a.jsonl"), RecipeError, "expected LANG=FILE"),
        (("--text", "klingon=a.jsonl"), RecipeError, "klingon=a.jsonl: "),
        (("--text", "el=nowhere.jsonl"), CorpusError, "No such file: nowhere.jsonl"),
        (("--aligned", "a.jsonl"), RecipeError, "--aligned and --languages go together"),
    ],
)
def test_text_that_cannot_be_read_is_named(
    arguments: tuple[str, ...], error: type[Exception], message: str, tokenizer_folder: Path
) -> None:
    with pytest.raises(error, match=message):
        call("report", tokenizer_folder, *arguments)


def test_an_aligned_file_without_a_language_is_named(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "aligned.jsonl"
    path.write_text('{"en": "the house"}\n', "utf-8")
    with pytest.raises(CorpusError, match="no record has text under the key 'el'"):
        call("report", tokenizer_folder, "--aligned", path, "--languages", "en,el")
