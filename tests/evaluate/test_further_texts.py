"""Further texts: the first documents, whole, and one message for each mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from langraft.core.errors import CorpusError, RecipeError
from langraft.core.settings.recipe import Recipe
from langraft.evaluate.further_texts import further_texts
from langraft.recipes.load import load_recipe


@pytest.fixture
def recipe_with(small_recipe: dict[str, Any], tmp_path: Path) -> Any:
    """Return a function that makes a recipe with further texts."""

    def make(*texts: dict[str, Any]) -> Recipe:
        small_recipe["evaluate"] |= {"texts": list(texts)}
        path = tmp_path / "recipe.yaml"
        path.write_text(json.dumps(small_recipe))
        return load_recipe(path)

    return make


def write(path: Path, *records: dict[str, Any] | str) -> str:
    lines = [each if isinstance(each, str) else json.dumps(each) for each in records]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def test_the_first_documents_are_read_until_they_have_enough_bytes(
    recipe_with: Any, tmp_path: Path
) -> None:
    write(tmp_path / "en.jsonl", {"body": "é" * 10}, {"body": "b" * 30}, {"body": "never read"})
    write(tmp_path / "el.jsonl", {"body": "ένα"})
    path = str(tmp_path / "{language}.jsonl")
    text = {"name": "manuals", "path": path, "languages": ["en", "el"], "text_key": "body"}
    found = further_texts(recipe_with(text | {"bytes": 21}))
    assert found == {"manuals": {"en": ["é" * 10, "b" * 30], "el": ["ένα"]}}


def test_what_is_scored_is_never_silently_less(recipe_with: Any, tmp_path: Path) -> None:
    broken = write(tmp_path / "broken.jsonl", {"text": "good"}, "{no json")
    text = {"name": "manuals", "path": broken, "languages": ["en"]}
    with pytest.raises(CorpusError, match=r"texts, manuals: .*broken\.jsonl:2: invalid JSON"):
        further_texts(recipe_with(text))
    with pytest.raises(CorpusError, match=r"none\.jsonl"):
        further_texts(recipe_with(text | {"path": str(tmp_path / "none.jsonl")}))
    empty = write(tmp_path / "empty.jsonl", "")
    with pytest.raises(CorpusError, match=r"empty\.jsonl"):
        further_texts(recipe_with(text | {"path": empty}))


def test_names_are_unique_and_languages_declared(recipe_with: Any) -> None:
    text = {"name": "manuals", "path": "x.jsonl", "languages": ["en"]}
    with pytest.raises(RecipeError, match="'manuals' is used twice"):
        recipe_with(text, text)
    with pytest.raises(RecipeError, match=r"evaluate\.texts\[0\]\.languages: given 'fr'"):
        recipe_with(text | {"languages": ["fr"]})
