"""Print the comparison of one or more runs of a recipe as a Markdown table; several are seeds.

python benchmarks/table.py runs/quickstart
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

ROWS: dict[str, Callable[[dict[str, Any]], float]] = {
    "gain on new languages (bits per byte, higher is better)": lambda card: card["gain"],
    "original languages kept (before / after, %)": lambda card: 100 * card["retention"],
    "forgetting (bits per byte, lower is better)": lambda card: card["forgetting"],
    "parameters, million": lambda card: card["parameters"]["total"] / 1e6,
    "active a token, million": lambda card: card["parameters"]["active"] / 1e6,
    "training, 10^12 FLOPs": lambda card: card["training_flops"] / 1e12,
    "training, seconds": lambda card: card["seconds"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    cards: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for run in parser.parse_args().runs:
        for name, card in json.loads((run / "comparison.json").read_text())["methods"].items():
            cards[name].append(card)
    print("| |", " | ".join(f"`{name}`" for name in cards), "|")
    print("| --- |", " | ".join("--:" for _ in cards), "|")
    for label, value in ROWS.items():
        print(f"| {label} |", " | ".join(cell([value(c) for c in cards[n]]) for n in cards), "|")
    first = next(iter(cards.values()))
    for code, score in first[0]["bits_per_byte"].items():
        before = cell([card["bits_per_byte"][code]["before"] for card in first])
        after = (
            cell([card["bits_per_byte"][code]["after"] for card in found])
            for found in cards.values()
        )
        print(f"| {code} ({score['role']}), base {before} |", " | ".join(after), "|")


def cell(values: list[float]) -> str:
    """Return the mean, with the lowest and highest where there is more than one seed."""
    digits = 1 if fmean(values) >= 10 else 3
    shown = f"{fmean(values):.{digits}f}"
    if len(values) > 1:
        shown += f" ({min(values):.{digits}f} to {max(values):.{digits}f})"
    return shown


if __name__ == "__main__":
    main()
