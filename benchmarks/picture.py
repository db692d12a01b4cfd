"""Draw gain against retention from the comparison.json of runs or of a `langraft compare`.

python benchmarks/picture.py runs/quickstart --out docs/img/quickstart.svg
python benchmarks/picture.py runs/smollm2-compare --gain-on test --retention-on unlike \
    --out docs/img/real.svg
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#000000")
MARKERS = "osD^vP"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    held_out = "Text of evaluate.texts; left out: what is held out of the corpus."
    parser.add_argument("--gain-on", metavar="TEXT", help=held_out)
    parser.add_argument("--retention-on", metavar="TEXT", help=held_out)
    arguments = parser.parse_args()
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for run in arguments.runs:
        methods = json.loads((run / "comparison.json").read_text())["methods"]
        for name, found in methods.items():
            for card in found.get("seeds", [found]):
                retention = of_text(card, arguments.retention_on)["retention"]
                gain = of_text(card, arguments.gain_on)["gain"]
                points[name].append((100 * retention, gain))
                if card["guarded"]:
                    guarded = (100 * card["guarded"]["retention"], card["guarded"]["gain"])
                    points[f"{name}, guarded"].append(guarded)

    matplotlib.rcParams["svg.hashsalt"] = "langraft"
    figure = Figure(figsize=(7.5, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.axvline(100, color="#999999", linewidth=1, linestyle=":")
    axes.plot(100, 0, marker="X", color="#555555", linestyle="none", label="base")
    methods = list(dict.fromkeys(name.removesuffix(", guarded") for name in points))
    for name, found in points.items():
        number = methods.index(name.removesuffix(", guarded"))
        colour = COLOURS[number % len(COLOURS)]
        kept, gained = (list(axis) for axis in zip(*found, strict=True))
        axes.errorbar(
            fmean(kept),
            fmean(gained),
            xerr=[[fmean(kept) - min(kept)], [max(kept) - fmean(kept)]],
            yerr=[[fmean(gained) - min(gained)], [max(gained) - fmean(gained)]],
            marker=MARKERS[number % len(MARKERS)],
            markersize=7,
            color=colour,
            markerfacecolor="white" if name.endswith("guarded") else colour,
            linewidth=1,
            linestyle="none",
            label=name,
        )
    axes.set_xlabel("original languages kept (bits per byte before / after, %)")
    axes.set_ylabel("gain on new languages (bits per byte)")
    axes.set_ylim(bottom=-0.05)
    axes.grid(alpha=0.25)
    figure.legend(frameon=False, loc="outside right upper", fontsize="small")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasSVG(figure).print_svg(arguments.out, metadata={"Date": None})


def of_text(card: dict[str, Any], name: str | None) -> dict[str, Any]:
    """Return the scores of a further text, or of what is held out of the corpus."""
    return card["texts"][name] if name else card


if __name__ == "__main__":
    main()
