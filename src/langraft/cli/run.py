"""The verbs that carry out a recipe: run, train, evaluate, report, corpus and compare."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from langraft.recipes.pipeline import Until

RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A YAML file, or a packaged recipe: quickstart, graft, polylm."
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Run folder [default: runs/NAME of the recipe].")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key, for example stages[0].lr=1e-4."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
DryOption = Annotated[bool, typer.Option("--dry-run", help="Check everything, run nothing.")]


def _recipe_verb(until: Until, description: str) -> Callable[..., None]:
    """Return a verb that carries out a recipe up to a step."""

    def verb(
        recipe: RecipeArgument,
        out: OutOption = None,
        changes: SetOption = None,
        as_json: JsonOption = False,
        dry_run: DryOption = False,
    ) -> None:
        _carry_out(recipe, out, changes, until, as_json=as_json, dry_run=dry_run)

    verb.__doc__ = description
    return verb


run = _recipe_verb(
    "report",
    "Carry out a recipe: corpus, training, evaluation, export, report. Run it again to go on.",
)
train = _recipe_verb(
    "train",
    "Train all stages of a recipe. Several processes: torchrun -m langraft train RECIPE.",
)
evaluate = _recipe_verb("evaluate", "Train and evaluate: gain and forgetting.")
report = _recipe_verb("report", "Write report.html and the model card, and run whatever they lack.")


def corpus(
    recipe: RecipeArgument,
    out: OutOption = None,
    changes: SetOption = None,
    as_json: JsonOption = False,
    dry_run: DryOption = False,
    report: Annotated[
        bool,
        typer.Option("--report", help="Say what came in, what was dropped and why, with examples."),
    ] = False,
) -> None:
    """Read, clean and tokenize the text of a recipe."""
    folder = _carry_out(
        recipe, out, changes, "corpus", as_json=as_json and not report, dry_run=dry_run
    )
    if not report or dry_run:
        return
    from langraft.cli.cleaning import cleaning_report
    from langraft.core.artifacts import read_manifest

    counts = read_manifest(folder / "corpus").counts
    typer.echo(json.dumps(counts, indent=2) if as_json else cleaning_report(counts))


def compare(
    recipe: RecipeArgument,
    out: OutOption = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Methods, separated by commas [default: the recipe's and its baselines]."
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="How many seeds a method is run with.")
    ] = 1,
    changes: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare methods on the same base and text. Run it again to go on."""
    from langraft.cli.tables.score_tables import method_table
    from langraft.recipes.compare import compare_methods
    from langraft.recipes.load import load_recipe

    loaded = load_recipe(recipe, changes or ())
    folder = out or Path("runs") / f"{loaded.name}-compare"
    result = compare_methods(
        loaded, folder, methods=methods.split(",") if methods else (), num_seeds=seeds
    )
    if as_json:
        typer.echo((result.folder / "comparison.json").read_text(encoding="utf-8"))
        return
    typer.echo(method_table(result.rows))
    typer.echo(f"picture: {result.page}")


def _carry_out(
    name: str,
    out: Path | None,
    changes: list[str] | None,
    until: Until,
    *,
    as_json: bool,
    dry_run: bool,
) -> Path:
    """Carry out a recipe up to a verb's work and print the result; returns the run's folder."""
    from langraft.cli.tables.score_tables import comparison_table
    from langraft.core.artifacts import read_manifest
    from langraft.corpus.heavy_drops import heavy_drops
    from langraft.export.next_commands import next_commands
    from langraft.recipes.load import load_recipe
    from langraft.recipes.run import run as run_recipe

    recipe = load_recipe(name, changes or [])
    folder = out or Path("runs") / recipe.name
    result = run_recipe(recipe, folder, until=until, is_dry=dry_run)
    if int(os.environ.get("RANK", "0")):
        return folder  # under torchrun one process prints for all
    if as_json:
        found: dict[str, Any] = {
            "folder": str(folder),
            "steps": result.steps,
            "methods": {method: card.to_json() for method, card in result.scorecards.items()},
            "report": str(result.report) if result.report else None,
            "heavy_drops": {} if dry_run else heavy_drops(read_manifest(folder / "corpus").counts),
        }
        typer.echo(json.dumps(found, indent=2))
    elif dry_run:
        typer.echo("\n".join(f"{state:<9} {step}" for step, state in result.steps.items()))
    else:
        if result.scorecards:
            typer.echo(comparison_table(result.scorecards))
        if result.report:
            typer.echo(f"report: {result.report}")
        else:
            typer.echo(f"done: {folder}", err=True)
        if result.report and (commands := next_commands(folder)):
            typer.echo("\n".join(["next:", *map(_folded, commands)]), err=True)
    return folder


def _folded(command: str) -> str:
    """Indent a command, its last option on a line of its own where it is too long for one."""
    from langraft.report.tables import terminal_width

    first, dashes, option = command.rpartition(" --")
    if not dashes or len(command) + 2 <= terminal_width():
        return f"  {command}"
    return f"  {first} \\\n     {dashes}{option}"
