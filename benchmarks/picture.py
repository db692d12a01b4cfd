"""Draw gain against retention from the comparison.json of one or more runs.

python benchmarks/picture.py runs/quickstart --out docs/img/quickstart.svg
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

COLOURS = {"moe_lpr": "#0072b2", "full": "#d55e00"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for run in arguments.runs:
        methods = json.loads((run / "comparison.json").read_text())["methods"]
        for name, card in methods.items():
            points[name].append((100 * card["retention"], card["gain"]))

    matplotlib.rcParams["svg.hashsalt"] = "langraft"
    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.axvline(100, color="#999999", linewidth=1, linestyle=":")
    axes.plot(100, 0, marker="s", color="#555555", linestyle="none", label="base")
    for name, found in points.items():
        retention, gain = zip(*found, strict=True)
        axes.plot(
            retention,
            gain,
            marker="o",
            linestyle="none",
            markersize=8,
            color=COLOURS.get(name, "#009e73"),
            label=name,
        )
    axes.set_xlabel("original languages kept (bits per byte before / after, %)")
    axes.set_ylabel("gain on new languages (bits per byte)")
    axes.set_ylim(bottom=-0.05)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="best")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasSVG(figure).print_svg(arguments.out, metadata={"Date": None})


if __name__ == "__main__":
    main()
