from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from langraft.core.settings.parse import parse_recipe
from langraft.core.settings.presets import PRESETS
from langraft.recipes.load import REGISTRIES

GUIDE = (Path(__file__).parents[2] / "docs" / "guide" / "curriculum.md").read_text("utf-8")
STAGES = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.M | re.S)


@pytest.mark.parametrize("number", range(len(STAGES)))
def test_every_stage_of_the_guide_is_one_that_a_recipe_may_have(number: int) -> None:
    languages = {"original": ["en", "zh"], "new": ["el", "hu"]}
    source = {"source": "files", "path": "x.txt", "languages": ["en", "zh", "el", "hu"]}
    recipe = {"name": "x", "base": "some/model", "languages": languages, "corpus": [source]}
    stages = [yaml.safe_load(STAGES[number])]
    assert parse_recipe(recipe | {"method": "moe_lpr", "stages": stages}, REGISTRIES).stages


def test_the_guide_shows_every_preset() -> None:
    assert all(f"| `{name}` |" in GUIDE for name in PRESETS)
    assert all(f"`{key}` {share}" in GUIDE for key, share in PRESETS["polylm_stage2"].items())
