"""Print what a comparison on the real base reports: text that nothing was trained or chosen on.

python benchmarks/real_table.py runs/smollm2-compare
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from table import cell, print_table

Card = dict[str, Any]


def of_text(text: str, figure: str) -> Callable[[Card], float | None]:
    """Return what reads a figure of one further text; retention in percent."""
    scale = 100 if figure == "retention" else 1
    return lambda card: scale * card["texts"][text][figure]


def kept(code: str) -> Callable[[Card], float]:
    """Return what reads how much of a language is kept, in percent."""
    return lambda card: (
        100
        * card["texts"]["test"]["bits_per_byte"][code]["before"]
        / card["texts"]["test"]["bits_per_byte"][code]["after"]
    )


def benchmark(name: str, figure: str) -> Callable[[Card], float | None]:
    """Return what reads a benchmark's accuracy or its standard error, in percent."""

    def read(card: Card) -> float | None:
        scores = [each for suite in card["tasks"].values() for each in suite]
        return next((100 * each[figure] for each in scores if each["benchmark"] == name), None)

    return read


FIGURES: dict[str, Callable[[Card], float | None]] = {
    "gain": of_text("test", "gain"),
    "English unlike the replay, kept (%)": of_text("unlike", "retention"),
    "English like it, kept (%)": of_text("test", "retention"),
    "French kept (%)": kept("fr"),
    "Spanish kept (%)": kept("es"),
    "BLiMP": benchmark("blimp", "after"),
    "trained, million": lambda card: card["parameters"]["trainable"] / 1e6,
    "active per token, million": lambda card: card["parameters"]["active"] / 1e6,
    "10^12 FLOPs": lambda card: card["training_flops"] / 1e12,
    "seconds": lambda card: card["seconds"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("comparison", type=Path)
    found = json.loads((parser.parse_args().comparison / "comparison.json").read_text())
    cards = {name: card["seeds"] for name, card in found["methods"].items()}
    rows = {
        f"`{name}`": [cell([read(card) for card in seeds]) for read in FIGURES.values()]
        for name, seeds in cards.items()
    }
    print_table("method", list(FIGURES), rows)
    first = next(iter(cards.values()))[0]
    for name, text in first["texts"].items():
        before = {c: round(s["before"], 3) for c, s in text["bits_per_byte"].items()}
        print(f"\nbase, {name}: {before}")
    before, error = benchmark("blimp", "before")(first), benchmark("blimp", "stderr_before")(first)
    if before is not None and error is not None:
        print(f"base, BLiMP: {before:.1f} ± {error:.1f}")


if __name__ == "__main__":
    main()
