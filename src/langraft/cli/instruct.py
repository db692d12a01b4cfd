"""The verbs of ``langraft instruct``: import."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from langraft.core.instruct import ConversationFormat

app = typer.Typer(
    name="instruct",
    help="Conversations for training.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]


@app.callback()
def _root() -> None:
    """Keep the verb's name, as long as it is the only one."""


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
