"""reference/serving.md: what servers answered for exports, as tests/serving measured it."""

from __future__ import annotations

import json
from pathlib import Path

from pages import page, table

PATH = "reference/serving.md"
MEASURED = Path(__file__).resolve().parents[2] / "docs" / "serving.json"


def render() -> str:
    """Return the page."""
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    rows = [
        (row["export"], f"`{row['class']}`", row["vLLM"], row["llama.cpp"])
        for row in measured["rows"]
    ]
    versions = ", ".join(f"{name} {version}" for name, version in measured["versions"].items())
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
        "choices are as clear as those of trained ones; `smollm2-graft` is the graft "
        "`graft` of SmolLM2-135M-Instruct in [Results](../results.md), given by `--export`. "
        "`close` is other rounding: continuations part where two tokens are as alike as that. See "
        "[Export and serving](../guide/export.md).",
    )
