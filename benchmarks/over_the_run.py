"""Print and draw bits per byte over the run, by language, of runs with `evaluate.every`.

python benchmarks/over_the_run.py runs/curriculum-compare --picture docs/img/curriculum.svg

Means over seeds; the table also has the range at the end.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import matplotlib.pyplot as plt

from langraft.core.files import read_json
from langraft.core.language import language_name
from langraft.train.log import read_log

Curve = dict[int, list[float]]  # tokens so far, value of each seed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of langraft compare")
    parser.add_argument("--picture", type=Path)
    arguments = parser.parse_args()
    curves = read_curves(arguments.folder)
    codes = list(next(iter(curves.values())))
    tokens = sorted(curves[next(iter(curves))][codes[0]])
    for code in codes:
        print(f"\n{language_name(code)}, bits per byte after thousands of tokens\n")
        print("| | " + " | ".join(f"{at / 1000:,.0f}" for at in tokens) + " | range at the end |")
        print("| --- |" + " --: |" * (len(tokens) + 1))
        for method, of_language in curves.items():
            means = [f"{fmean(of_language[code][at]):.3f}" for at in tokens]
            last = of_language[code][tokens[-1]]
            print(f"| {method} | {' | '.join(means)} | {min(last):.3f} to {max(last):.3f} |")
    if arguments.picture:
        draw(curves, codes, arguments.picture)


def read_curves(folder: Path) -> dict[str, dict[str, Curve]]:
    """Return by method and language what the logs of all seeds have."""
    curves: dict[str, dict[str, Curve]] = {}
    for log in sorted(folder.glob("seed-*/*/train-*/log.jsonl")):
        method = log.parents[1].name
        of_method = curves.setdefault(method, defaultdict(lambda: defaultdict(list)))
        for record in read_log(log.parent):
            for code, value in record.get("heldout", {}).items():
                of_method[code][record["tokens"]].append(value)
    base = read_json(folder / "evaluate-base" / "evaluation.json")["heldout"]
    for of_method in curves.values():
        for code, curve in of_method.items():
            curve[0] = [base[code]["bits_per_byte"]]
    return curves


def draw(curves: dict[str, dict[str, Curve]], codes: list[str], path: Path) -> None:
    columns = min(4, len(codes))
    rows = -(-len(codes) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3 * columns, 2.4 * rows), squeeze=False)
    for axis, code in zip(axes.flat, codes, strict=False):
        for method, of_language in curves.items():
            points = sorted(of_language[code].items())[1:]  # the start would flatten the rest
            at = [tokens / 1e6 for tokens, _ in points]
            axis.plot(at, [fmean(values) for _, values in points], label=method)
            low, high = ([pick(values) for _, values in points] for pick in (min, max))
            axis.fill_between(at, low, high, alpha=0.2)
        axis.set_title(language_name(code), fontsize=10)
        axis.tick_params(labelsize=8)
    for axis in axes.flat[len(codes) :]:
        axis.axis("off")
    axes.flat[0].legend(fontsize=8)
    figure.supxlabel("million tokens", fontsize=9)
    figure.supylabel("bits per byte", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
