"""The planned text of a run, and that the loader reads it so."""

from __future__ import annotations

import io
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from matplotlib.image import imread
from rich.console import Console
from typer.testing import CliRunner

from langraft.cli.main import app
from langraft.cli.tables.sparklines import draw_sparklines
from langraft.core.artifacts import perform
from langraft.core.errors import CorpusError
from langraft.core.settings.parse import parse_recipe
from langraft.core.settings.recipe import Recipe
from langraft.corpus.storage.shards import ShardWriter
from langraft.plan.text_chart import draw_text_chart, spread_labels
from langraft.recipes.load import REGISTRIES
from langraft.recipes.planning import plan_recipe
from langraft.recipes.steps.shared_steps import corpus_inputs
from langraft.recipes.steps.training import make_loader, warn_of_repetition
from langraft.recipes.text_planning import plan_recipe_text
from langraft.train.loop import num_samples

# Tokens of every source; a row has 8.
TEXT = {"en/wiki": 4000, "el/wiki": 1600, "el/web": 800, "tr/wiki": 80, "en+el/pairs": 400}


@pytest.fixture
def recipe_data(small_recipe: dict[str, Any], text_folder: Path) -> dict[str, Any]:
    path = str(text_folder / "{language}.jsonl")
    source = {"source": "files", "path": path}
    small_recipe["corpus"] = [
        source | {"label": "wiki", "languages": ["en", "el", "hu", "tr"]},
        source | {"label": "web", "languages": ["el"]},
    ]
    small_recipe["training"]["sequence_length"] = 8
    small_recipe["baselines"] = []
    return small_recipe


def parse(data: dict[str, Any], *stages: dict[str, Any]) -> Recipe:
    named = [
        {"name": name, "tokens": 8000, **keys}
        for name, keys in zip(("extend", "review"), stages, strict=False)
    ]
    return parse_recipe(data | ({"stages": named} if named else {}), REGISTRIES)


def write_corpus(recipe: Recipe, folder: Path) -> Path:
    """Write a finished corpus step with shards by source, as the step itself does."""
    tokenizer = perform("tokenizer", folder / "tokenizer", {}, lambda _: {})

    def build(path: Path) -> dict[str, Any]:
        for stream, num_tokens in (TEXT | {"hu/wiki": 1600}).items():
            writer = ShardWriter(path / stream, 300)
            for number in range(num_tokens // 40):
                writer.add(np.full(40, number % 300), f"d{number}")
            writer.close()
        return {}

    perform("corpus", folder / "corpus", corpus_inputs(recipe, tokenizer), build)
    return folder


def streams(recipe: Recipe, folder: Path, stage: int = 0) -> dict[str, Any]:
    return plan_recipe_text(recipe, folder)["moe_lpr"].to_json()["stages"][stage]["streams"]


# Counts


def test_the_stage_of_a_base_comes_first(recipe_data: dict[str, Any], tmp_path: Path) -> None:
    plan = plan_recipe_text(parse(recipe_data), tmp_path)["moe_lpr"]
    assert [stage.name for stage in plan.stages] == ["pretrain", "extend", "review"]
    assert plan.streams == ("en", "tr", "el", "hu")


def test_tokens_of_streams_sum_to_the_stage(recipe_data: dict[str, Any], tmp_path: Path) -> None:
    for stage in plan_recipe_text(parse(recipe_data), tmp_path)["moe_lpr"].stages:
        assert sum(stream.tokens for stream in stage.streams) == stage.tokens


def test_without_a_corpus_repetition_is_unknown_and_the_plan_says_how_to_know(
    recipe_data: dict[str, Any], tmp_path: Path
) -> None:
    recipe = parse(recipe_data)
    assert {stream["epochs"] for stream in streams(recipe, tmp_path, 1).values()} == {None}
    assert "langraft corpus" in plan_recipe_text(recipe, tmp_path)["moe_lpr"].notes[0]


def test_budgets_of_all_sources_of_a_stream_count_together(
    recipe_data: dict[str, Any], tmp_path: Path
) -> None:
    recipe_data["corpus"][0]["tokens"], recipe_data["corpus"][1]["tokens"] = 3200, 1600
    recipe = parse(recipe_data, {"mixture": {"el": 2, "el/web": 1, "hu": 1}})
    found = streams(recipe, tmp_path, 1)
    assert found["el"]["epochs"] == pytest.approx(4000 / 4800, rel=0.01)
    assert found["el/web"]["epochs"] == pytest.approx(2000 / 1600, rel=0.01)
    assert found["hu"]["epochs"] == pytest.approx(2000 / 3200, rel=0.01)


def test_a_finished_corpus_is_counted_and_one_of_other_text_is_not(
    recipe_data: dict[str, Any], tmp_path: Path
) -> None:
    recipe = parse(recipe_data, {"mixture": {"el": 1, "hu": 1}})
    write_corpus(recipe, tmp_path)
    found = streams(recipe, tmp_path, 1)
    assert found["el"]["epochs"] == pytest.approx(4000 / 2400, rel=0.01)
    recipe_data["evaluate"]["heldout"] = 50
    other = plan_recipe_text(parse(recipe_data, {"mixture": {"el": 1, "hu": 1}}), tmp_path)[
        "moe_lpr"
    ]
    assert other.stages[1].streams[0].epochs is None
    assert "is of another recipe" in other.notes[0]


def test_much_repeated_text_and_untrained_languages_are_named(
    recipe_data: dict[str, Any], tmp_path: Path
) -> None:
    recipe = parse(recipe_data, {"mixture": {"el/web": 1}}, {"mixture": {"el/web": 1}})
    notes = plan_recipe_text(recipe, write_corpus(recipe, tmp_path))["moe_lpr"].notes
    assert any("Greek, web (el/web) is read 20.0 times over all stages" in note for note in notes)
    assert any("Hungarian (hu) is new, and no stage trains on it" in note for note in notes)


def test_shares_by_tokens_are_drawn_by_weight_until_they_are_known(
    recipe_data: dict[str, Any], tmp_path: Path
) -> None:
    recipe = parse(recipe_data, {"mixture": {"*/wiki": 1, "el/web": 1}})
    assert list(streams(recipe, tmp_path, 1)) == ["*/wiki", "el/web"]
    assert any("drawn by weight" in n for n in plan_recipe_text(recipe, tmp_path)["moe_lpr"].notes)
    found = streams(recipe, write_corpus(recipe, tmp_path), 1)
    assert {s: round(f["shares"][0], 3) for s, f in found.items()} == {
        "en/wiki": round(0.5 * 4000 / 7200, 3),
        "el/wiki": round(0.5 * 1600 / 7200, 3),
        "hu/wiki": round(0.5 * 1600 / 7200, 3),
        "el/web": 0.5,
    }


def test_a_cap_that_cannot_be_kept_is_refused_before_anything_is_spent(
    recipe_data: dict[str, Any], tmp_path: Path
) -> None:
    recipe = parse(recipe_data, {"mixture": {"el/web": 1}, "max_epochs": 4})
    with pytest.raises(CorpusError, match="only 3,200 left"):
        plan_recipe_text(recipe, write_corpus(recipe, tmp_path))


# The loader does what the plan says


@pytest.mark.parametrize(
    "keys",
    [
        {"mixture": {"*/wiki": 3, "el/web": 1}},
        {"mixture": {"en": 1, "el": 1, "hu": 1}, "temperature": 2, "max_epochs": 1.2},
        {
            "mixture": {"en": 7, "el": 3},
            "curriculum": "linear",
            "points": [{"at": 0.9, "mixture": {"en": 4, "el": 3, "hu": 3}}],
        },
        {
            "mixture": {"en": 1, "el": 1},
            "curriculum": "staged",
            "points": [{"at": 0.5, "mixture": {"*/web": 1, "hu": 1}}],
        },
    ],
    ids=["sources", "temperature and cap", "linear", "staged"],
)
def test_the_loader_reads_what_was_planned(
    recipe_data: dict[str, Any], tmp_path: Path, keys: dict[str, Any]
) -> None:
    recipe = parse(recipe_data, keys)
    write_corpus(recipe, tmp_path)
    stage = recipe.stages[0]
    loader = make_loader(recipe, stage, tmp_path / "corpus")
    samples = num_samples(stage, recipe.training)
    read = Counter(loader.index.locate(sample).stream for sample in range(samples))
    planned = {s: found["tokens"] // 8 for s, found in streams(recipe, tmp_path, 1).items()}
    assert read == {stream: count for stream, count in planned.items() if count}
    assert loader.rows(range(samples - 4, samples)).input_ids.shape == (4, 8)


def test_changing_a_later_stage_changes_no_token_of_an_earlier_one(
    recipe_data: dict[str, Any], tmp_path: Path
) -> None:
    first = {"mixture": {"en": 1, "el": 2}}
    points = [{"at": 1, "mixture": {"hu": 1}}]
    recipes = [
        parse(recipe_data, first, {"mixture": {"en": 1}}),
        parse(recipe_data, first, {"mixture": {"el": 1}, "curriculum": "linear", "points": points}),
    ]
    write_corpus(recipes[0], tmp_path)
    rows = [make_loader(r, r.stages[0], tmp_path / "corpus").rows(range(200)) for r in recipes]
    assert rows[0].input_ids.equal(rows[1].input_ids)
    later = [make_loader(r, r.stages[1], tmp_path / "corpus").rows(range(200)) for r in recipes]
    assert not later[0].input_ids.equal(later[1].input_ids)


def test_training_warns_of_repetition(recipe_data: dict[str, Any], tmp_path: Path) -> None:
    recipe = parse(recipe_data, {"mixture": {"el/web": 1, "en": 1}})
    write_corpus(recipe, tmp_path)
    loader = make_loader(recipe, recipe.stages[0], tmp_path / "corpus")
    console = Console(file=io.StringIO(), width=80)
    warn_of_repetition(loader, num_samples(recipe.stages[0], recipe.training), console)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("  Greek, web (el/web) will be read 5.0 times; beyond about 4 ")


# The command


@pytest.fixture
def plan_file(recipe_data: dict[str, Any], tmp_path: Path) -> Path:
    recipe_data["stages"][0] |= {
        "curriculum": "linear",
        "points": [{"at": 0.5, "mixture": {"en": 1, "el": 2}}],
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe_data), encoding="utf-8")
    return path


def test_plan_prints_text_by_stage_and_draws_it(plan_file: Path, tmp_path: Path) -> None:
    picture = tmp_path / "pictures" / "plan.png"
    arguments = ["plan", str(plan_file), "--out", str(tmp_path), "--picture", str(picture)]
    output = CliRunner().invoke(app, arguments).output
    assert "What moe_lpr reads" in output
    assert "Greek (el)" in output
    assert "50% → 67%" in output
    assert "times read" in output
    image = imread(picture)
    assert image.shape[1] >= 1000
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 20


def test_plan_as_json_has_everything(plan_file: Path, tmp_path: Path) -> None:
    arguments = ["plan", str(plan_file), "--out", str(tmp_path), "--json"]
    found = json.loads(CliRunner().invoke(app, arguments).stdout)["moe_lpr"]["text"]
    extend = found["stages"][1]
    assert extend["streams"]["el"]["shares"] == [0.5, pytest.approx(2 / 3)]
    assert extend["streams"]["el"]["epochs"] is None
    assert len(extend["curve"]) == 21
    assert extend["curve"][0] == {"el": 0.5, "hu": 0.5, "en": 0}
    assert found["notes"]


def test_sparklines_fit_a_terminal_and_show_what_there_is(
    recipe_data: dict[str, Any], tmp_path: Path
) -> None:
    lines = draw_sparklines(plan_recipe_text(parse(recipe_data), tmp_path)["moe_lpr"]).splitlines()
    assert max(map(len, lines)) <= 96
    assert lines[0].split() == ["pretrain", "extend", "review"]
    sparklines = {line.split(" (")[0]: line for line in lines if "│" in line}
    assert list(sparklines) == ["English", "Turkish", "Greek", "Hungarian"]
    assert "█" in sparklines["English"]
    english = sparklines["English"].split("│")
    assert not english[1].strip()  # no stage but the first and the last has English
    assert len({line.index("│") for line in sparklines.values()}) == 1


def test_labels_of_the_chart_never_overlap() -> None:
    places = spread_labels([1, 1.5, 50, 99, 99.5, 100], 4)
    assert all(b - a >= 4 - 1e-9 for a, b in pairwise(places))
    assert places[2] == 50
    assert places[0] >= 0
    assert places[-1] <= 100


def test_a_chart_of_thirty_kinds_of_text_is_drawn_without_a_warning(tmp_path: Path) -> None:
    codes = ["en", "el", "tr", "hu", "sw"]
    labels = ["wiki", "web", "books", "news", "law", "film"]
    source = {"source": "files", "path": "x.txt", "languages": codes, "tokens": "1M"}
    data = {
        "name": "many",
        "base": "some/model",
        "languages": {"original": codes[:1], "new": codes[1:]},
        "corpus": [source | {"label": label} for label in labels],
        "method": "moe_lpr",
        "stages": [{"name": "extend", "tokens": "9M", "mixture": {f"*/{x}": 1 for x in labels}}],
    }
    plan = plan_recipe_text(parse_recipe(data, REGISTRIES), tmp_path)["moe_lpr"]
    assert len(plan.streams) == 30
    draw_text_chart(plan, "many", tmp_path / "many.png")
    assert imread(tmp_path / "many.png").shape[0] > 700


@pytest.mark.parametrize(
    ("method", "stage", "is_noted"),
    [
        ({"token_rows": "rare"}, {}, True),
        ({"token_rows": "rare", "token_rows_share": 1.0}, {}, False),
        ({"token_rows": "rare", "token_rows_share": 1.0, "token_rows_uses": 1}, {}, True),
        ({"token_rows": "rare"}, {"trains": ["experts", "routers"]}, False),
        ({"token_rows": "frozen"}, {}, False),
    ],
    ids=["some rows", "all rows", "used rows", "rows that stay frozen", "no rows"],
)
def test_rare_rows_are_noted_where_the_corpus_chooses_rows_that_train(
    method: dict[str, Any], stage: dict[str, Any], is_noted: bool, small_recipe: dict[str, Any]
) -> None:
    small_recipe["method"] = {"name": "moe_lpr", "new_experts": 2} | method
    small_recipe["stages"] = [small_recipe["stages"][0] | stage]
    notes = plan_recipe(parse_recipe(small_recipe, REGISTRIES))[1].notes
    assert any("which token rows are rare" in note for note in notes) == is_noted


def test_text_that_no_stage_reads_is_noted(recipe_data: dict[str, Any], tmp_path: Path) -> None:
    mixture = {"el/wiki": 1, "hu": 1}
    recipe_data["base"]["stage"]["mixture"] = {"en": 1}
    notes = plan_recipe_text(parse(recipe_data, {"mixture": mixture}), tmp_path)["moe_lpr"].notes
    unread = [note for note in notes if note.startswith("no stage reads")]
    assert unread == ["no stage reads Greek (el/web); name it in a mixture, or take the source out"]
