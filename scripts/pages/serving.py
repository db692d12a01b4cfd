"""reference/serving.md: what servers answered for exports, as tests/serving measured it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pages import page, table

PATH = "reference/serving.md"
MEASURED = Path(__file__).resolve().parents[2] / "docs" / "serving.json"


def render() -> str:
    """Return the page."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    rows = [
        (_name(row, measured["versions"]), f"`{row['class']}`", row["vLLM"], row["llama.cpp"])
        for row in measured["rows"]
    ]
    versions = _listed(measured["versions"])
    return page(
        "Served exports",
        f"`make test-serving` on {measured['date']}, two CPU cores, {measured['minutes']} minutes: "
        f"{versions}. Each export is served as its user would and asked for its reference "
        "continuations, as `langraft verify` does: sixteen tokens after each of its prompts, and "
        "the largest difference of their log-probabilities from those of transformers. llama.cpp "
        f"also tokenizes {measured['lines']:,} lines of sixteen languages.",
        table(("export", "class", "vLLM", "llama.cpp"), rows),
        "vLLM ran with `--dtype float32`, `--enforce-eager` unless a row says compiled, and "
        "`--tensor-parallel-size 2` where it says so; llama.cpp with a cache in float32 and, "
        "unless another type is named, a GGUF file in float32.",
        "A name of a family is a small random base of it with three new experts a layer, whose "
        "choices are as clear as those of trained ones. `make test-serving` makes these and "
        "`quickstart` itself; the other row, `smollm2-graft`, is the graft `graft` of "
        "SmolLM2-135M-Instruct in [Results](../results.md), which is served only where its folder "
        "is given by `--export`. A row that the last run did not serve stays, with the date on "
        "which it was, and versions where they were others. "
        "`close` is other rounding: continuations part where two tokens are as alike as that. See "
        "[Export and serving](../guide/export.md).",
    )


def _name(row: dict[str, Any], versions: dict[str, str]) -> str:
    """Return a row's name; of an earlier run with its date, and its versions that are others."""
    if "date" not in row:
        return row["export"]
    others = {name: v for name, v in row["versions"].items() if versions.get(name) != v}
    return f"{row['export']} ({', '.join(filter(None, [row['date'], _listed(others)]))})"


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
