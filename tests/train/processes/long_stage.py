"""A recipe whose stage is long enough to be killed or stopped in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def write_long_recipe(folder: Path, small_recipe: dict[str, Any], tokens: int) -> Path:
    """Write ``recipe.yaml`` with one stage of so many tokens."""
    extend = small_recipe["stages"][0] | {"tokens": tokens, "lr": 1e-3}
    method = {"name": "moe_lpr", "new_experts": 2}
    changes = {"stages": [extend], "baselines": [], "method": method}
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(small_recipe | changes))
    return path
