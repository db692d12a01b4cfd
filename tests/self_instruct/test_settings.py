"""The config and the command line of `langraft instruct generate`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from langraft.cli.main import app
from langraft.core.errors import RecipeError
from langraft.self_instruct.estimate import estimate
from langraft.self_instruct.settings import load_settings

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "self_instruct.md"
CONFIGS = re.findall(r"^```yaml\n(.*?)^```$", GUIDE.read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize("number", range(len(CONFIGS)))
def test_the_configs_of_the_guide_load(number: int, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIGS[number], "utf-8")
    assert load_settings(path).languages


def test_the_guide_shows_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIGS[0], "utf-8")
    shown = load_settings(path)
    assert dict(shown.languages) == {"el": 10_000, "sw": None}
    path.write_text(CONFIGS[0].partition("# What follows")[0], "utf-8")
    assert load_settings(path) == shown


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"promts": 3}, r"promts: unknown key. Did you mean 'prompts'"),
        ({"teacher.modle": "x"}, r"teacher.modle: unknown key. Did you mean 'model'"),
        ({"teacher.name": "endpiont"}, r"Did you mean 'endpoint'"),
        ({"languages": "{greek: 5}"}, r"perhaps 'el' is meant"),
        ({"languages": "[]"}, r"languages: given \[\]; .*\[el, sw\], or .*\{el: 10k, sw: null\}"),
        ({"languages": "{}"}, r"languages: .*\[el, sw\], or .*\{el: 10k, sw: null\}"),
        ({"languages": "el"}, r"languages: given 'el'; .*\[el, sw\], or .*\{el: 10k, sw: null\}"),
        ({"languages": "null"}, r"languages: given None; .*\[el, sw\], or"),
        ({"languages": "[{el: 10k}]"}, r"languages: given \[\{'el': '10k'\}\]; .*\[el, sw\], or"),
        ({"prompts": 0}, r"the config cannot be run"),
        ({"languages": "{el: 0}"}, r"languages.el"),
        ({"from_pool": 4}, r"from_pool is at most demonstrations"),
        ({"languages": "[el, sw]", "seeds": "mine.jsonl"}, r"\{language\}"),
        ({"teacher.temperature": ".nan"}, r"teacher.temperature"),
        ({"screen.overlap": 1}, r"screen.overlap: unknown key"),
    ],
)
def test_a_mistake_is_told_with_its_key(
    config: Callable[..., Path], changes: dict[str, Any], said: str
) -> None:
    path = config("http://localhost:1/v1")
    with pytest.raises(RecipeError, match=said):
        load_settings(path, [f"{key}={value}" for key, value in changes.items()])


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "There is no config"), ("- a\n", "begins with languages"), ("a: [", "not valid YAML")],
)
def test_a_file_that_is_no_config_is_told(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(RecipeError, match=said):
        load_settings(path)


def test_a_dry_run_asks_nothing_and_its_bound_holds(
    serve: Any, config: Callable[..., Path], tmp_path: Path
) -> None:
    server, out = serve(), tmp_path / "out"
    path = config(server.address, {"price_in": 5.0, "price_out": 20.0}, languages=["en", "hu"])
    arguments = ["instruct", "generate", str(path), "--out", str(out), "--json"]
    dry = CliRunner().invoke(app, [*arguments, "--dry-run"], catch_exceptions=False)
    expected = {one["language"]: one for one in json.loads(dry.stdout)}
    assert not server.requests()
    assert not out.exists()
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    manifest = json.loads(done.stdout)
    assert sum(one["requests"] for one in expected.values()) == len(server.requests())
    for language, counts in manifest["languages"].items():
        assert counts["answer_tokens"] <= expected[language]["most_answer_tokens"]
        assert counts["cost"] <= expected[language]["most_cost"]
        assert expected[language]["cost"] <= expected[language]["most_cost"]


def test_the_bound_counts_a_token_a_byte_and_the_longest_answer(
    config: Callable[..., Path],
) -> None:
    path = config("http://localhost:1/v1", {"price_out": 1.0}, languages=["en"])
    (one,) = estimate(load_settings(path))
    assert one.requests == 3 + 6
    assert one.most_answer_tokens == 9 * 100
    assert one.most_cost == pytest.approx(900 / 1e6)
    assert one.prompt_tokens * 4 < one.most_prompt_tokens


def test_the_table_at_the_end_shows_rounds_yields_and_reasons(
    serve: Any, config: Callable[..., Path], tmp_path: Path
) -> None:
    path = config(serve(faults={"duplicate": 0.5}).address)
    arguments = ["instruct", "generate", str(path), "--out", str(tmp_path / "out")]
    shown = CliRunner().invoke(app, arguments, catch_exceptions=False).stdout
    assert re.search(r"en\s+1\s+12\s+\d+\s+\d+%", shown)
    assert "similar" in shown
    assert "cost: 0.00" in shown


def test_an_error_begins_on_a_line_of_its_own_below_the_table(
    serve: Any, config: Callable[..., Path], tmp_path: Path
) -> None:
    path = config(serve(key="another").address)
    command = [sys.executable, "-m", "langraft", "instruct", "generate", str(path)]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "out")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "\nlangraft: " in done.stderr
