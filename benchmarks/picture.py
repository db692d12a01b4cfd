"""Draw gain against retention from the comparison.json of runs or of a `langraft compare`.

python benchmarks/picture.py runs/quickstart --out docs/img/quickstart.svg
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#000000")
MARKERS = "osD^vP"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for run in arguments.runs:
        methods = json.loads((run / "comparison.json").read_text())["methods"]
        for name, found in methods.items():
            for card in found.get("seeds", [found]):
                points[name].append((100 * card["retention"], card["gain"]))
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
        retention, gain = (list(axis) for axis in zip(*found, strict=True))
        axes.errorbar(
            fmean(retention),
            fmean(gain),
            xerr=[[fmean(retention) - min(retention)], [max(retention) - fmean(retention)]],
            yerr=[[fmean(gain) - min(gain)], [max(gain) - fmean(gain)]],
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


if __name__ == "__main__":
    main()
