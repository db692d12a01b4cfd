"""The verbs of ``langraft instruct``: generate and import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from langraft.core.instruct import ConversationFormat

app = typer.Typer(
    name="instruct",
    help="Make and import instruction data.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


@app.command("import")
def import_(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="JSONL or JSON, also .gz or .zst.")
    ],
    language: Annotated[str, typer.Option("--language", help="Code of their language: el.")],
    out: Annotated[Path, typer.Option("--out", help="JSONL file to write.")],
    format: Annotated[
        ConversationFormat, typer.Option("--format", help="auto: told by each record's keys.")
    ] = "auto",
    max_broken: Annotated[
        float, typer.Option(min=0, max=1, help="Share of broken records beyond which it stops.")
    ] = 0.001,
    as_json: JsonOption = False,
) -> None:
    """Read conversations of any format and write them in one: messages, language, id."""
    from pydantic import ValidationError

    from langraft.core.errors import RecipeError
    from langraft.core.instruct import ConversationSource
    from langraft.instruct.writing import import_conversations

    try:
        sources = [
            ConversationSource(path=f, languages=(language,), format=format, max_broken=max_broken)
            for f in files
        ]
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise RecipeError(f"--language {language}: {message}") from None
    found = import_conversations(sources, out)
    for place in found["broken_places"]:
        typer.echo(f"broken: {place}", err=True)
    if as_json:
        typer.echo(json.dumps({"file": str(out), **found}, indent=2, ensure_ascii=False))
        return
    num_kept, num_twice = (sum(found[key].values()) for key in ("conversations", "duplicates"))
    typer.echo(f"{out}: {num_kept:,} conversations of {found['records']:,} records.")
    if num_twice:
        typer.echo(f"  {num_twice:,} dropped: word by word there already")
    for reason, count in found["broken"].items():
        typer.echo(f"  {count:,} broken: {reason}")


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
    as_json: JsonOption = False,
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
