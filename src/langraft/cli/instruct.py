"""The verbs of ``langraft instruct``: generate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="instruct",
    help="Make instruction data.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def generate(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a key, for example teacher.max_tokens=2048."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON on stdout.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it asks and costs at most, ask nothing.")
    ] = False,
) -> None:
    """Let a teacher write tasks in your languages (self-instruct). Run it again to go on."""
    from langraft.cli.generation import estimate_table, live, result_table
    from langraft.instruct.estimate import estimate
    from langraft.instruct.generate import generate as run
    from langraft.instruct.generation import load_generation

    generation = load_generation(config, changes or ())
    if dry_run:
        estimates = estimate(generation)
        found = [e.to_json() for e in estimates]
        typer.echo(json.dumps(found, indent=2) if as_json else estimate_table(estimates))
        return
    with live(generation) as watch:
        made = run(generation, out, watch)
    if as_json:
        typer.echo(json.dumps(made.manifest, indent=2, ensure_ascii=False))
        return
    typer.echo(result_table(made.manifest))
    typer.echo(f"done: {out}")
