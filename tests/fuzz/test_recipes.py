"""Any recipe, and any text in place of one, is read or refused in words, and quickly."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from command_line import langraft
from fuzz.wrong_values import junk, near, places, put, within_ten_seconds
from langraft.core.errors import RecipeError
from langraft.core.settings.parse import recipe_model
from langraft.recipes.load import REGISTRIES, dump_recipe, load_recipe
from langraft.self_instruct.settings import load_settings, settings_model
from thorough import is_thorough

pytestmark = pytest.mark.slow

EXAMPLES = 2000 if is_thorough() else 100
many = settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
few = settings(many, max_examples=max(20, EXAMPLES // 10))

STAGED: dict[str, Any] = {
    "name": "trial",
    "base": {
        "architecture": "llama",
        "config": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2},
        "stage": {"name": "pretrain", "tokens": "10k", "mixture": {"en": 1}},
    },
    "languages": {"original": ["en"], "new": ["el", "hu"]},
    "corpus": {
        "sources": [{"source": "almanac", "languages": ["en", "el", "hu"], "tokens": "1M"}],
        "filters": ["repair"],
    },
    "method": {"name": "moe_lpr", "new_experts": 2},
    "stages": [{"name": "extend", "tokens": "3M", "mixture": {"el": 1, "hu": 1}}],
    "baselines": ["full"],
    "training": {"sequence_length": 64, "batch_rows": 8, "micro_rows": 4},
}
CONFIG: dict[str, Any] = {
    "languages": ["el"],
    "teacher": {"name": "endpoint", "address": "http://localhost:1/v1", "model": "m"},
}
RECIPE_SCHEMA = recipe_model(REGISTRIES).model_json_schema()
CONFIG_SCHEMA = settings_model().model_json_schema()
FRAGMENTS = (
    *("name: trial", "base: some/model", "languages:", "{original: [en], new: [el]}", "stages:"),
    *("\n", "\n  ", "\n- ", "- ", ": ", "[", "]", "{", "}", ", ", "'", '"', "|", ">", "#", "\t"),
    *("&a ", "*a", "<<: *a", "<<", "!!int ", "!!float ", "!!timestamp ", "!!binary ", "!!set "),
    *("!!python/name:os.system ", "!!bool ", "!!str ", "!!omap ", "!!null ", "%YAML 1.1\n---\n"),
    *("2024-13-45", "2024-01-01", "1:60:60", "0x", "0b2", "1_", ".inf", ".nan", "no", "~", "="),
    *("!!value ", "!!pairs ", "!!map ", "!!seq ", "!x ", "!<tag:x> ", "_", "!!merge "),
    *("? ", "---", "...", "\0", "\x85", "\u2028", "\ufeff", "\\ud800", '"\\0"', "1e30", "9" * 99),
    *("[" * 60, "{a: " * 60, "[" * 3000, "- " * 300, "? " * 300, "9" * 5000, "1:" * 2000),
)


def changed(
    example: dict[str, Any], schema: dict[str, Any], most: int = 4
) -> st.SearchStrategy[dict[str, Any]]:
    """Draw the example with some keys set to values of their schema, few of them to anything."""
    defs = schema["$defs"]
    one = st.sampled_from(list(places(schema, defs))).flatmap(
        lambda place: st.tuples(
            st.just(place[0]),
            st.integers(0, 5).flatmap(lambda n: near(place[1], defs) if n else junk),
        )
    )

    def apply(changes: list[tuple[tuple[Any, ...], Any]]) -> dict[str, Any]:
        data = copy.deepcopy(example)
        for path, value in changes:
            put(data, path, value)
        return data

    return st.lists(one, min_size=1, max_size=most).map(apply)


def written(data: Any) -> bytes:
    return yaml.dump(data, allow_unicode=True, sort_keys=False).encode("utf-8", "surrogatepass")


raw_texts = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=12).map("".join),
    st.builds(
        lambda fragment, at: (
            written(STAGED).decode()[:at] + fragment + written(STAGED).decode()[at:]
        ),
        st.sampled_from(FRAGMENTS),
        st.integers(0, 500),
    ),
).map(lambda text: text.encode("utf-8", "surrogatepass"))


def refusal(read: Callable[[], object]) -> str:
    """Return the message of a refusal, or nothing when all is read, within ten seconds."""
    with within_ten_seconds():
        try:
            read()
        except RecipeError as error:
            return str(error) or "an error without words"
    return ""


@many
@given(data=changed(STAGED, RECIPE_SCHEMA) | near(RECIPE_SCHEMA, RECIPE_SCHEMA["$defs"]))
def test_any_recipe_is_read_and_written_or_refused(tmp_path: Path, data: Any) -> None:
    path, again = tmp_path / "recipe.yaml", tmp_path / "again.yaml"
    path.write_bytes(written(data))
    message = refusal(lambda: load_recipe(path))
    assert len(message) < 50_000
    if not message:
        again.write_text(dump_recipe(load_recipe(path)), encoding="utf-8")
        assert load_recipe(again).model_dump() == load_recipe(path).model_dump()


@many
@given(content=raw_texts | st.binary(max_size=60))
def test_any_text_is_read_as_a_recipe_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "recipe.yaml").write_bytes(content)
    assert len(refusal(lambda: load_recipe(tmp_path / "recipe.yaml"))) < 50_000


@many
@given(
    key=st.text("abcs.[]0=x", max_size=8) | st.sampled_from(["seed", "stages[0].lr", "method.x"]),
    value=st.sampled_from(FRAGMENTS) | st.text(max_size=8),
)
def test_any_change_is_made_or_refused(tmp_path: Path, key: str, value: str) -> None:
    (tmp_path / "recipe.yaml").write_bytes(written(STAGED))
    message = refusal(lambda: load_recipe(tmp_path / "recipe.yaml", [f"{key}={value}"]))
    assert len(message) < 50_000


@many
@given(content=changed(CONFIG, CONFIG_SCHEMA).map(written) | raw_texts)
def test_any_config_of_self_instruct_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    assert len(refusal(lambda: load_settings(tmp_path / "config.yaml"))) < 50_000


@few
@given(data=changed(STAGED, RECIPE_SCHEMA, most=2))
def test_a_plan_of_any_recipe_has_status_0_or_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Any
) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path / "a" / "b")  # so that .. is empty too
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    Path("recipe.yaml").write_bytes(written(data))
    for arguments in (["plan", "recipe.yaml"], ["run", "recipe.yaml", "--dry-run"]):
        with within_ten_seconds():
            done = langraft(*arguments, check=False)
        assert done.returncode in (0, 2), done.stderr
        assert "Traceback" not in done.stderr
