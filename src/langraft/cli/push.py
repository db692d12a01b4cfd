"""The verb that shares a model: push."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from langraft.cli.run import JsonOption


def push(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run folder that has export/, or an export folder."),
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="OWNER/NAME", help="Repository; made if there is none.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch [default: main]; made if need be.")
    ] = None,
    gguf: Annotated[bool, typer.Option("--gguf", help="Send the GGUF files too.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the files and their sizes, send nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Send an export with its card, report and scorecard to the Hugging Face hub, in one commit.

    Log in first: hf auth login, or HF_TOKEN. Push again to go on after an interruption.
    """
    from langraft.export.push import (
        check_repository_name,
        check_revision,
        files_to_push,
        push_files,
    )

    check_repository_name(to)
    check_revision(revision)
    files = files_to_push(run, has_gguf=gguf)
    sizes = files.num_bytes
    for name in files.left_out:
        typer.echo(f"left out: {name}", err=True)
    pushed = None if dry_run else push_files(files, to, is_private=private, revision=revision)
    if as_json:
        result = {
            "repository": to,
            "files": sizes,
            "left_out": files.left_out,
            "commit": pushed.commit if pushed else None,
            "url": pushed.url if pushed else None,
            "replaced": pushed.replaced if pushed else [],
        }
        typer.echo(json.dumps(result, indent=2))
        return
    if pushed is None:
        typer.echo("\n".join(f"{size:>15,}  {name}" for name, size in sizes.items()))
        typer.echo(f"{sum(sizes.values()):>15,}  bytes would go to {to}")
        return
    typer.echo(f"{to}: {len(sizes)} files, {sum(sizes.values()):,} bytes. {pushed.url}")
    if pushed.replaced:
        typer.echo(f"Taken away, of an earlier export: {', '.join(pushed.replaced)}")
