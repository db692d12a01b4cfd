from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from langraft import load_recipe
from langraft.recipes.load import packaged_recipes

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


@pytest.mark.parametrize("name", packaged_recipes())
def test_the_schema_knows_every_key_of_the_packaged_recipes(name: str) -> None:
    schema = json.loads((DOCS / "recipe.schema.json").read_text(encoding="utf-8"))
    path = ROOT / "src" / "langraft" / "recipes" / f"{name}.yaml"
    assert unknown_keys(yaml.safe_load(path.read_text(encoding="utf-8")), schema, schema) == []


def test_the_schema_refuses_a_misspelt_key() -> None:
    schema = json.loads((DOCS / "recipe.schema.json").read_text(encoding="utf-8"))
    data = {"name": "x", "method": {"name": "moe_lpr", "new_expert": 3}}
    assert unknown_keys(data, schema, schema) == ["method.new_expert"]


def unknown_keys(data: Any, schema: Any, root: Any, path: str = "") -> list[str]:
    """Return the paths of keys that the schema does not allow: as much of JSON schema as we use."""
    schema = resolve(data, schema, root)
    if isinstance(data, dict) and ("properties" in schema or "additionalProperties" in schema):
        known = schema.get("properties", {})
        rest = schema.get("additionalProperties", True)
        return [
            wrong
            for key, value in data.items()
            for wrong in (
                unknown_keys(value, known[key], root, f"{path}.{key}".lstrip("."))
                if key in known
                else [f"{path}.{key}".lstrip(".")]
                if rest is False
                else []
            )
        ]
    if isinstance(data, list) and "items" in schema:
        return [
            w
            for n, item in enumerate(data)
            for w in unknown_keys(item, schema["items"], root, f"{path}[{n}]")
        ]
    return []


def resolve(data: Any, schema: Any, root: Any) -> Any:
    """Follow references and choose between alternatives by discriminator or by kind."""
    while True:
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
        elif "discriminator" in schema and isinstance(data, dict):
            tag = schema["discriminator"]
            schema = {"$ref": tag["mapping"][data[tag["propertyName"]]]}
        elif "anyOf" in schema and isinstance(data, dict | list):
            kinds = {"object": dict, "array": list}
            alternatives = [resolve(data, s, root) for s in schema["anyOf"]]
            schema = next(s for s in alternatives if isinstance(data, kinds.get(s.get("type"), ())))
        else:
            return schema


def test_the_schema_allows_counts_and_methods_as_recipes_write_them() -> None:
    schema = json.loads((DOCS / "recipe.schema.json").read_text(encoding="utf-8"))
    tokens = schema["$defs"]["Stage"]["properties"]["tokens"]["anyOf"]
    assert {"integer", "string"} == {form["type"] for form in tokens}
    pattern = next(form["pattern"] for form in tokens if form["type"] == "string")
    assert all(re.search(pattern, count) for count in ("50000", "200k", "1.5M", "3B"))
    assert "moe_lpr" in schema["properties"]["method"]["anyOf"][0]["enum"]
