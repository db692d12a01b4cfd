"""The verbs of ``langraft instruct``: generate and import."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from langraft.core.conversation import ConversationFormat

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

    from langraft.chat.write_conversations import import_conversations
    from langraft.core.errors import RecipeError
    from langraft.core.settings.conversations import ConversationSource
    from langraft.core.settings.settings import first_mistake

    try:
        sources = [
            ConversationSource(path=f, languages=(language,), format=format, max_broken=max_broken)
            for f in files
        ]
    except ValidationError as error:
        raise RecipeError(f"--language {language}: {first_mistake(error)}") from None
    counts = import_conversations(sources, out)
    for place in counts["broken_places"]:
        typer.echo(f"broken: {place}", err=True)
    if as_json:
        typer.echo(json.dumps({"file": str(out), **counts}, indent=2, ensure_ascii=False))
        return
    num_kept, num_copies = (sum(counts[key].values()) for key in ("conversations", "duplicates"))
    typer.echo(f"{out}: {num_kept:,} conversations of {counts['records']:,} records.")
    if num_copies:
        typer.echo(f"  {num_copies:,} dropped: exact copies of earlier ones")
    for reason, count in counts["broken"].items():
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
    from langraft.cli.tables.instruct_tables import estimate_table, live, result_table
    from langraft.self_instruct.estimate import estimate as estimate_run
    from langraft.self_instruct.generate import generate as run
    from langraft.self_instruct.settings import load_settings

    settings = load_settings(config, changes or ())
    if dry_run:
        estimates = estimate_run(settings)
        records = [asdict(estimate) for estimate in estimates]
        typer.echo(json.dumps(records, indent=2) if as_json else estimate_table(estimates))
        return
    with live(settings) as watch:
        manifest = run(settings, out, watch)
    if as_json:
        typer.echo(json.dumps(manifest, indent=2, ensure_ascii=False))
        return
    typer.echo(result_table(manifest))
    typer.echo(f"done: {out}")
