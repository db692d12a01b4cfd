"""Comparison of methods over seeds: the same base, and the same tokens in the same order.

out/tokenizer, corpus, base, evaluate-base     once
out/seed-N/METHOD/                             each method's stages for each seed
out/comparison.json, comparison.html           the table and the chart
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from langraft.core.artifacts import MANIFEST, read_manifest
from langraft.core.errors import RecipeError, did_you_mean
from langraft.core.files import write_json
from langraft.core.settings.recipe import Recipe
from langraft.evaluate.scorecard import Scorecard
from langraft.graft.method import AbstractMethod, methods_in
from langraft.graft.methods import METHODS
from langraft.recipes.pipeline import Pipeline, open_pipeline
from langraft.report.comparison import MethodRow, summarise, write_comparison
from langraft.report.gather import base_in_words
from langraft.report.origin import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonResult:
    """The results of a comparison.

    Attributes:
        folder: Folder of the comparison.
        rows: One for each method, in the order asked for.
        page: The HTML page.
    """

    folder: Path
    rows: tuple[MethodRow, ...]
    page: Path


def compare_methods(
    recipe: Recipe,
    out: Path | str,
    *,
    methods: Sequence[str] = (),
    num_seeds: int = 1,
    console: Console | None = None,
) -> ComparisonResult:
    """Train and evaluate methods side by side, or continue an earlier comparison.

    The base, its tokenizer and the text keep the recipe's seed; each further seed draws new initial
    weights and another order of text, the same for all methods.

    Args:
        recipe: Its method and baselines, with their settings, can be compared.
        out: Folder of the comparison.
        methods: Keys of these, or names of other methods with their default settings; by default
            the recipe's method and all its baselines.
        num_seeds: Number of seeds, counted up from the recipe's.
        console: Where progress is printed; standard error by default.

    Raises:
        RecipeError: when a method is not known.
        LangraftError: when a step fails; finished steps and checkpoints are kept.
    """
    chosen = _choose(recipe, methods)
    others = tuple(method for method in chosen if method is not recipe.method)
    recipe = recipe.model_copy(update={"baselines": others})
    with open_pipeline(recipe, Path(out), console) as pipeline:
        return _carry_out(pipeline, chosen, num_seeds)


def _choose(recipe: Recipe, names: Sequence[str]) -> list[AbstractMethod]:
    """Return the methods of these keys, with the recipe's settings or their defaults."""
    known = {method.key: method for method in methods_in(recipe)}
    if not names:
        return list(known.values())
    chosen: list[AbstractMethod] = []
    for name in dict.fromkeys(names):
        if name in known:
            chosen.append(known[name])
        elif name in METHODS:
            chosen.append(METHODS[name].model_validate({}))
        else:
            allowed = [*known, *(m for m in METHODS if m not in known)]
            raise RecipeError(
                f"--methods: given {name!r}; the recipe and langraft have {', '.join(allowed)}."
                f"{did_you_mean(name, allowed)}"
            )
    return chosen


def _carry_out(
    pipeline: Pipeline, methods: Sequence[AbstractMethod], num_seeds: int
) -> ComparisonResult:
    folder, recipe = pipeline.run.folder, pipeline.run.recipe
    prepared = pipeline.prepare("evaluate")
    assert prepared is not None
    cards: dict[str, list[Scorecard]] = defaultdict(list)
    for seed in range(recipe.seed, recipe.seed + num_seeds):
        for method in methods:
            at = folder / f"seed-{seed}" / method.key
            found = pipeline.method(method, at, prepared, "evaluate", seed=seed, is_exported=False)
            for key, card in found.items():
                cards[key].append(card)
    rows = tuple(summarise(key, of_seeds) for key, of_seeds in cards.items())
    page = folder / "comparison.html"
    if pipeline.run.processes.is_leader:
        methods_json = {
            key: {"seeds": [card.to_json() for card in of_seeds]} for key, of_seeds in cards.items()
        }
        write_json(folder / "comparison.json", {"methods": methods_json})
        base, _ = base_in_words(
            recipe.model_dump(mode="json")["base"], str(prepared.base.counts["path"])
        )
        grafts = [folder / f"seed-{recipe.seed}" / method.key for method in methods]
        found = [path.parent for at in grafts for path in sorted(at.glob(f"train-*/{MANIFEST}"))]
        trained = [read_manifest(at) for at in found]
        origin = Origin.of(base, [prepared.base, *trained])
        write_comparison(recipe.name, rows, page, origin=origin, graft=grafts[0])
    return ComparisonResult(folder=folder, rows=rows, page=page)
