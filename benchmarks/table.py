"""Print the comparison of runs of a recipe, or of `langraft compare`, as Markdown tables.

python benchmarks/table.py runs/quickstart
python benchmarks/table.py runs/methods-compare

Several runs are seeds. Few methods are columns, many are rows.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

Card = dict[str, Any]
FIGURES: dict[str, Callable[[Card], float | None]] = {
    "gain on new languages (bits per byte, higher is better)": lambda card: card["gain"],
    "original languages kept (before / after, %)": lambda card: 100 * card["retention"],
    "gain under the guard": lambda card: card["guarded"] and card["guarded"]["gain"],
    "kept under the guard (%)": lambda card: card["guarded"] and 100 * card["guarded"]["retention"],
    "forgetting (bits per byte, lower is better)": lambda card: card["forgetting"],
    "transfer (bits per byte)": lambda card: card["transfer"],
    "gain on text that mixes languages": lambda card: card["mixed"],
    "parameters, million": lambda card: card["parameters"]["total"] / 1e6,
    "active per token, million": lambda card: card["parameters"]["active"] / 1e6,
    "trained, million": lambda card: card["parameters"]["trainable"] / 1e6,
    "training, 10^12 FLOPs": lambda card: card["training_flops"] / 1e12,
    "training, seconds": lambda card: card["seconds"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    cards: dict[str, list[Card]] = defaultdict(list)
    for run in parser.parse_args().runs:
        for name, card in json.loads((run / "comparison.json").read_text())["methods"].items():
            cards[name] += card.get("seeds", [card])
    first = next(iter(cards.values()))
    figures = {
        label: [cell([read(card) for card in found]) for found in cards.values()]
        for label, read in FIGURES.items()
    }
    languages: dict[str, list[str]] = {}
    for code, score in first[0]["bits_per_byte"].items():
        before = cell([card["bits_per_byte"][code]["before"] for card in first])
        languages[f"{code} ({score['role']}), base {before}"] = [
            cell([card["bits_per_byte"][code]["after"] for card in found])
            for found in cards.values()
        ]
    shown = {label: cells for label, cells in figures.items() if any(cells)}
    if len(cards) < 4:
        print_table("", [f"`{name}`" for name in cards], shown | languages)
        return
    for columns in (shown, languages):
        by_method = dict(zip(cards, zip(*columns.values(), strict=True), strict=True))
        print_table("method", list(columns), {f"`{n}`": cells for n, cells in by_method.items()})
        print()


def print_table(corner: str, columns: Sequence[str], rows: dict[str, Sequence[str]]) -> None:
    print(f"| {corner} |", " | ".join(columns), "|")
    print("| --- |", " | ".join("--:" for _ in columns), "|")
    for label, cells in rows.items():
        print(f"| {label} |", " | ".join(cells), "|")


def cell(values: Sequence[float | None]) -> str:
    """Return the mean, with the lowest and highest where seeds differ; empty if not measured."""
    found = [value for value in values if value is not None]
    if not found:
        return ""
    digits = 1 if abs(fmean(found)) >= 10 else 3
    low, mean, high = (f"{v:.{digits}f}" for v in (min(found), fmean(found), max(found)))
    return mean if low == high else f"{mean} ({low} to {high})"


if __name__ == "__main__":
    main()
