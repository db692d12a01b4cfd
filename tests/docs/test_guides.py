from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from langraft import load_recipe
from langraft.core.settings.yaml_keys import parse_yaml

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def yaml_blocks(page: Path) -> list[str]:
    """Return the YAML blocks of a page, with the files that they include."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)
    return [
        re.sub(
            r'^--8<-- "(.*)"$',
            lambda found: (ROOT / found[1]).read_text("utf-8"),
            block,
            flags=re.M,
        )
        for block in blocks
    ]


RECIPES = [
    *yaml_blocks(ROOT / "README.md"),
    *yaml_blocks(DOCS / "guide" / "recipe.md"),
    *yaml_blocks(DOCS / "guide" / "expand.md"),
    *yaml_blocks(DOCS / "guide" / "chat.md"),
]


@pytest.mark.parametrize("number", range(len(RECIPES)))
def test_every_recipe_of_readme_and_guide_loads(number: int, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPES[number], encoding="utf-8")
    recipe = load_recipe(path)
    assert recipe.stages


def test_the_readme_shows_the_recommended_recipe_as_it_is() -> None:
    packaged = ROOT / "src" / "langraft" / "recipes" / "graft.yaml"
    assert packaged.read_text(encoding="utf-8") in yaml_blocks(ROOT / "README.md")


def test_the_guide_names_every_group_of_keys() -> None:
    text = (DOCS / "guide" / "recipe.md").read_text(encoding="utf-8")
    groups = json.loads((DOCS / "recipe.schema.json").read_text(encoding="utf-8"))["properties"]
    assert [key for key in groups if f"`{key}`" not in text and f"`{key}." not in text] == []


RECIPE_FILES = [
    *(ROOT / "src" / "langraft" / "recipes").glob("*.yaml"),
    *(ROOT / "benchmarks" / "recipes").glob("*.yaml"),
]


def mistakes(data: Any) -> list[str]:
    """Return the paths of what the published schema refuses."""
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((DOCS / "recipe.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(data)]


@pytest.mark.parametrize("path", RECIPE_FILES, ids=[path.stem for path in RECIPE_FILES])
def test_the_schema_accepts_every_recipe(path: Path) -> None:
    assert mistakes(parse_yaml(path.read_text(encoding="utf-8"), path, "")) == []


def test_the_schema_refuses_a_misspelt_key_and_a_base_of_no_size() -> None:
    data = yaml.safe_load((ROOT / "benchmarks/recipes/cleaning.yaml").read_text(encoding="utf-8"))
    assert mistakes(data) == []
    data["method"] = {"name": "moe_lpr", "new_expert": 3}
    assert [m for m in mistakes(data) if m.startswith("$.method:")]
    data["method"] = "moe_lpr"
    del data["base"]["config"]
    assert [m for m in mistakes(data) if m.startswith("$.base:")]


def test_the_schema_allows_counts_and_methods_as_recipes_write_them() -> None:
    schema = json.loads((DOCS / "recipe.schema.json").read_text(encoding="utf-8"))
    tokens = schema["$defs"]["Stage"]["properties"]["tokens"]["anyOf"]
    assert {"integer", "string"} == {form["type"] for form in tokens}
    pattern = next(form["pattern"] for form in tokens if form["type"] == "string")
    assert all(re.search(pattern, count) for count in ("50000", "200k", "1.5M", "3B"))
    assert "moe_lpr" in schema["properties"]["method"]["anyOf"][0]["enum"]
