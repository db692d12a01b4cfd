"""A real base on an accelerator, within minutes: the recommended graft and `full` with replay.

    python benchmarks/gpu.py runs/gpu --text ../shared/data/mono
    python benchmarks/gpu.py runs/gpu --text ../shared/data/mono --from unpacked/ --tokens 50M

Makes the base (real_base.py) and splits the text (real_data.py), then trains methods of
recipes/smollm2.yaml on so many tokens in bfloat16 and evaluates them. Prints tokens a second, the
share of what the device reaches in one large matrix product, peak memory, and the comparison.
Without an accelerator it does the same in float32, for a smaller --tokens.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import real_data
import torch
from real_base import make_real_base
from rounds import forget_peak, peak_memory, print_table, write_result

import langraft
from langraft.core.settings.recipe import Recipe
from langraft.core.settings.settings import parse_count
from langraft.recipes.compare import compare_methods
from langraft.train.log import read_log

RECIPE = Path(__file__).parent / "recipes" / "smollm2.yaml"
METHODS = ("graft", "full_replay")
WARM_UP = 0.1  # share of a run's steps that are not timed
ON_GPU = ("training.dtype=bfloat16", "training.compile=true")


def main() -> None:
    given = arguments()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = given.base or given.folder / "base"
    if not base.is_dir():
        print(make_real_base(base, given.source))
    if not (given.folder / "data").is_dir():
        real_data.split(given.text, given.folder / "data")
    recipe = made(given, base, device)
    found = {name: measure(recipe, given.folder, name, device) for name in METHODS}
    ceiling = matmul_flops(device, getattr(torch, recipe.training.dtype))
    rows = [
        (
            name,
            f"{speed['tokens_per_second']:,.0f}",
            f"{speed['flops'] / 1e9:.2f}",
            f"{speed['tokens_per_second'] * speed['flops'] / ceiling:.1%}",
            f"{speed['peak_bytes'] / 2**30:.1f}",
            f"{speed['seconds']:.0f}",
        )
        for name, speed in found.items()
    ]
    columns = ("method", "tokens/s", "GFLOP a token", "of ceiling", "peak GiB", "seconds in all")
    print_table(f"{device}, ceiling {ceiling / 1e12:.2f} TFLOP/s", columns, rows)
    result = compare_methods(recipe, given.folder / "compare", methods=METHODS)
    print(f"\nnext: python benchmarks/table.py {result.folder}")
    write_result(given.folder / "gpu.json", {"found": found, "ceiling": ceiling})


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="What is made goes here.")
    parser.add_argument("--text", type=Path, required=True, help="Folder of en.jsonl.gz, ...")
    parser.add_argument("--from", dest="source", type=Path, help="As of real_base.py.")
    parser.add_argument("--base", type=Path, help="A base that there is, instead of making it.")
    parser.add_argument("--tokens", type=parse_count, default=20_000_000, help="Of each method.")
    parser.add_argument("--rows", type=int, default=64, help="Of a step.")
    parser.add_argument("--micro-rows", type=int, default=16)
    parser.add_argument("--length", type=int, default=1024, help="Tokens of a row.")
    parser.add_argument("--heldout", type=parse_count, default=50_000, help="Tokens a language.")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def made(given: argparse.Namespace, base: Path, device: str) -> Recipe:
    """Return the recipe with another budget, batch and precision."""
    data = given.folder.resolve() / "data"
    changes = [
        f"base={base.resolve()}",
        f"corpus[0].path={data}/train/{{language}}.jsonl.gz",
        f"training.sequence_length={given.length}",
        f"training.batch_rows={given.rows}",
        f"training.micro_rows={given.micro_rows}",
        f"evaluate.heldout={given.heldout}",
        f"evaluate.texts[0].path={data}/test/{{language}}.jsonl.gz",
        f"evaluate.texts[1].path={data}/unlike_test/{{language}}.jsonl.gz",
        *(ON_GPU if device == "cuda" else ()),
        *given.set,
    ]
    recipe = langraft.load_recipe(RECIPE, changes)
    return recipe.model_copy(
        update={
            "stages": with_tokens(recipe.stages, given.tokens),
            "baselines": tuple(
                method.model_copy(update={"stages": with_tokens(method.stages, given.tokens)})
                for method in recipe.baselines
            ),
        }
    )


def with_tokens(stages: Any, tokens: int) -> Any:
    """Return stages that share so many tokens as they share theirs."""
    total = sum(stage.tokens for stage in stages)
    return type(stages)(
        stage.model_copy(update={"tokens": max(1, stage.tokens * tokens // total)})
        for stage in stages
    )


def measure(recipe: Recipe, folder: Path, name: str, device: str) -> dict[str, float]:
    """Train and evaluate one method; return its speed and peak memory."""
    forget_peak(device)
    began = time.perf_counter()
    compare_methods(recipe, folder / "compare", methods=[name])
    seconds, peak = time.perf_counter() - began, peak_memory(device)
    at = folder / "compare"
    (card,) = json.loads((at / "comparison.json").read_text())["methods"][name]["seeds"]
    logs = [read_log(path.parent) for path in sorted(at.glob(f"seed-*/{name}/train-*/log.jsonl"))]
    steps = [record for log in logs for record in log[int(WARM_UP * len(log)) :]]
    return {
        "tokens_per_second": statistics.median(record["tokens_per_second"] for record in steps),
        "flops": card["training_flops"] / sum(log[-1]["tokens"] for log in logs),
        "peak_bytes": peak,
        "seconds": seconds,
    }


def matmul_flops(device: str, dtype: torch.dtype) -> float:
    """Return the FLOP/s of a large matrix product, the best of five."""
    width = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(width, width, device=device, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        began = time.perf_counter()
        torch.mm(a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * width**3 / best


if __name__ == "__main__":
    main()
