"""Does a tokenizer that learned the new languages help a graft, at equal bytes seen?

    langraft train benchmarks/recipes/shredding_base.yaml --out runs/shredding-base
    python benchmarks/extension.py runs/extension --seeds 3

Grafts benchmarks/recipes/shredding.yaml with new tokens and without. Each language gives both the
same bytes of text, so the one with longer tokens trains on fewer tokens, in less time.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import langraft
from langraft.core.artifacts import read_manifest
from langraft.core.recipe import Recipe
from langraft.evaluate.scorecard import Scorecard

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
    cards: dict[str, list[Scorecard]] = {}
    tokens: dict[str, dict[str, float]] = {}
    for name, changes in VARIANTS.items():
        folder = given.folder / name.replace(" ", "-").replace(",", "").replace("'", "")
        recipe = langraft.load_recipe(RECIPE, [*given.set, *changes])
        langraft.run(recipe, folder / "corpus-only", until="corpus")
        counts = read_manifest(folder / "corpus-only" / "corpus").counts
        tokens[name] = {c: n / (counts[c]["bytes"] / counts[c]["tokens"]) for c, n in BYTES.items()}
        for seed in range(given.seeds):
            seeded = with_tokens(recipe, tokens[name], seed)
            result = langraft.run(seeded, folder / f"seed-{seed}", until="evaluate")
            cards.setdefault(name, []).append(result.scorecards["moe_lpr"])
    show(cards, tokens)


def with_tokens(recipe: Recipe, tokens: dict[str, float], seed: int) -> Recipe:
    """Return the recipe with so many tokens of each language."""
    (stage,) = recipe.stages
    mixture = {code: round(count) for code, count in tokens.items()}
    stage = stage.model_copy(update={"tokens": sum(mixture.values()), "mixture": mixture})
    return recipe.model_copy(update={"stages": (stage,), "seed": seed})


def show(cards: dict[str, list[Scorecard]], tokens: dict[str, dict[str, float]]) -> None:
    print("| | " + " | ".join(cards) + " |")
    print("| --- |" + " --: |" * len(cards))
    for code in BYTES:
        row = [f"{BYTES[code] / tokens[name][code]:.2f}" for name in cards]
        print(f"| {code}: bytes a token | " + " | ".join(row) + " |")
    trained = [f"{sum(found.values()) / 1e3:.0f}k" for found in tokens.values()]
    print("| tokens trained on | " + " | ".join(trained) + " |")
    for code in BYTES:
        before = next(iter(cards.values()))[0].bits_per_byte[code].before
        row = [spread([c.bits_per_byte[code].after for c in found]) for found in cards.values()]
        print(f"| {code}: bits per byte, base {before:.3f} | " + " | ".join(row) + " |")
    for title, read in (
        ("gain", lambda card: card.gain),
        ("retention", lambda card: card.retention),
        ("training seconds", lambda card: card.seconds),
    ):
        row = [spread([read(card) for card in found]) for found in cards.values()]
        print(f"| {title} | " + " | ".join(row) + " |")


def spread(values: list[float]) -> str:
    """Return the mean and the range over seeds."""
    digits = 0 if max(values) > 10 else 3
    low, mean, high = (f"{f(values):.{digits}f}" for f in (min, statistics.mean, max))
    return f"{mean} ({low} to {high})"


if __name__ == "__main__":
    main()
