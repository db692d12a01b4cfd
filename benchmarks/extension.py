"""Does a tokenizer that learned the new languages help a graft, at equal bytes seen?

    langraft train benchmarks/recipes/shredding_base.yaml --out runs/shredding-base
    python benchmarks/extension.py runs/extension --seeds 3

Grafts benchmarks/recipes/shredding.yaml with new tokens and without. Each language gives both the
same bytes of text, so the one with longer tokens trains on fewer tokens, in less time. A budget of
held-out tokens holds more documents with longer tokens, so both are scored on those of the first.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import langraft
from langraft.core.artifacts import read_manifest
from langraft.core.settings.recipe import Recipe
from langraft.evaluate.evaluation import evaluate_model

RECIPE = Path(__file__).parent / "recipes" / "shredding.yaml"
BYTES = {"el": 800_000, "ka": 600_000, "en": 30_000, "es": 30_000}
PLAIN = [
    "tokenizer=null",
    "stages[0].trains=[experts, routers, adapters, token_rows]",
]
VARIANTS = {"base's tokenizer": PLAIN, "2,000 new tokens": []}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    scored_on = given.folder / "0" / "corpus-only" / "corpus"
    found = Found()
    for number, (name, changes) in enumerate(VARIANTS.items()):
        folder = given.folder / str(number)
        recipe = langraft.load_recipe(RECIPE, [*given.set, *changes])
        langraft.run(recipe, folder / "corpus-only", until="corpus")
        counts = read_manifest(folder / "corpus-only" / "corpus").counts
        found.tokens[name] = {
            c: n / (counts[c]["bytes"] / counts[c]["tokens"]) for c, n in BYTES.items()
        }
        for seed in range(given.seeds):
            seeded, at = with_tokens(recipe, found.tokens[name], seed), folder / f"seed-{seed}"
            card = langraft.run(seeded, at, until="evaluate").scorecards["moe_lpr"]
            model = langraft.load(at / "graft")
            tokenizer = at / "tokenizer"
            scores = evaluate_model(model, seeded, corpus=scored_on, tokenizer=tokenizer).heldout
            found.after[name].append({code: s.bits_per_byte for code, s in scores.items()})
            found.seconds[name].append(card.seconds)
            if not found.before:
                before = card.bits_per_byte.items()
                found.before = {code: score.before for code, score in before}
    show(found)


@dataclass
class Found:
    """What was measured, by variant and seed."""

    before: dict[str, float] = field(default_factory=dict)
    tokens: dict[str, dict[str, float]] = field(default_factory=dict)
    after: dict[str, list[dict[str, float]]] = field(default_factory=lambda: defaultdict(list))
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def with_tokens(recipe: Recipe, tokens: dict[str, float], seed: int) -> Recipe:
    """Return the recipe with so many tokens of each language."""
    (stage,) = recipe.stages
    mixture = {code: round(count) for code, count in tokens.items()}
    stage = stage.model_copy(update={"tokens": sum(mixture.values()), "mixture": mixture})
    return recipe.model_copy(update={"stages": (stage,), "seed": seed})


def show(found: Found) -> None:
    print("| | " + " | ".join(VARIANTS) + " |")
    print("| --- |" + " --: |" * len(VARIANTS))
    for code in BYTES:
        row = [f"{BYTES[code] / found.tokens[name][code]:.2f}" for name in VARIANTS]
        print(f"| {code}: bytes a token | " + " | ".join(row) + " |")
    trained = [f"{sum(found.tokens[name].values()) / 1e3:.0f}k" for name in VARIANTS]
    print("| tokens trained on | " + " | ".join(trained) + " |")
    for code in BYTES:
        row = [spread([after[code] for after in found.after[name]]) for name in VARIANTS]
        print(f"| {code}: bits per byte, base {found.before[code]:.3f} | " + " | ".join(row) + " |")
    kept = [
        spread(
            [statistics.mean(found.before[c] / after[c] for c in ("en", "es")) for after in seeds]
        )
        for seeds in (found.after[name] for name in VARIANTS)
    ]
    print("| original languages kept | " + " | ".join(kept) + " |")
    print(
        "| training seconds | "
        + " | ".join(spread(found.seconds[name]) for name in VARIANTS)
        + " |"
    )


def spread(values: list[float]) -> str:
    """Return the mean and the range over seeds."""
    digits = 0 if max(values) > 10 else 3
    low, mean, high = (f"{f(values):.{digits}f}" for f in (min, statistics.mean, max))
    return f"{mean} ({low} to {high})"


if __name__ == "__main__":
    main()
