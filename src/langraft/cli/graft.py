"""The verbs that take a finished graft: export, verify, delta, detach and merge."""

from __future__ import annotations

import json
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from langraft.cli.run import JsonOption

GraftArgument = Annotated[
    Path, typer.Argument(help="A graft folder (graft.json), or a run folder that has graft/.")
]


class GgufChoice(StrEnum):
    """How a GGUF file stores weights: GgufType, since typer takes no list of literals."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"


def export(
    graft: GraftArgument,
    out: Annotated[Path, typer.Option("--out", help="Folder to make.")],
    base: Annotated[
        str | None, typer.Option("--base", help="Where the base is now, if it has moved.")
    ] = None,
    form: Annotated[
        Literal["auto", "standard", "portable"],
        typer.Option("--format", help="A standard class, a portable folder, or what fits."),
    ] = "auto",
    tied: Annotated[
        Literal["separate", "keep"],
        typer.Option("--tied", help="Whether a tied base's output matrix is written out."),
    ] = "separate",
    gguf: Annotated[
        list[GgufChoice] | None,
        typer.Option("--gguf", help="Also write a GGUF file of this type; repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a graft as a folder that transformers, vLLM and others load, proved equal."""
    from langraft.export.folder import export_model
    from langraft.graft.description import graft_folder_of
    from langraft.recipes.steps.shared_steps import describe_export

    types: Any = tuple(choice.value for choice in gguf or ())
    folder = graft_folder_of(graft)
    result = export_model(folder, out, base=base, wanted=form, tied=tied, gguf=types)
    if as_json:
        typer.echo(json.dumps({"folder": str(out)} | describe_export(result), indent=2))
        return
    typer.echo(
        f"{out}: {result.architecture}, logits agree to {result.largest_difference:.1e}."
        + (f"\nNote: {result.caveat}" if result.caveat else "")
    )


def verify(
    url: Annotated[str, typer.Argument(help="Of the server, such as http://localhost:8000")],
    export_folder: Annotated[
        Path, typer.Option("--export", help="The folder that it serves, with reference.json.")
    ],
    model: Annotated[str, typer.Option("--model", help="Name of the model there.")] = "",
    timeout: Annotated[
        float, typer.Option(min=0.1, max=86400, help="Seconds to wait for an answer.")
    ] = 120,
    key_env: Annotated[
        str,
        typer.Option("--key-env", help="Environment variable that holds the server's API key."),
    ] = "",
    is_diagnosed: Annotated[
        bool,
        typer.Option("--diagnose", help="Look for a known fault where it is close, too."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask a server for an export's reference continuations: is it that model, or what is wrong?"""
    from langraft.core.errors import ServerError
    from langraft.export.server_faults import diagnose
    from langraft.export.verify import verify as compare_with_server
    from langraft.export.verify import worst
    from langraft.families.load import load_model, load_tokenizer

    key = os.environ.get(key_env, "") if key_env else ""
    if key_env and not key:
        raise ServerError(f"--key-env: the environment has no {key_env}, or it is empty.")
    found = compare_with_server(url, export_folder, model=model, timeout=timeout, key=key)
    verdict = worst(found)
    largest = max(each.difference for each in found)
    fault = ""
    if verdict == "wrong" or (is_diagnosed and verdict == "close"):
        exported = load_model(export_folder, has_own_code=True)
        fault = diagnose(exported, found, load_tokenizer(export_folder))
    if as_json:
        found_json = [each.to_json() for each in found]
        typer.echo(
            json.dumps({"verdict": verdict, "fault": fault, "continuations": found_json}, indent=2)
        )
    else:
        typer.echo("\n".join(each.line() for each in found))
    guess = f" It looks as if {fault}." if fault else ""
    if verdict == "wrong":
        raise ServerError(
            f"{url} is not the model of {export_folder}: log-probabilities differ by up to "
            f"{largest:.2g} nats.{guess or ' None of the known faults explains it.'}"
        )
    typer.echo(
        f"{url} serves {export_folder}: {verdict}, within {largest:.1e} nats.{guess}", err=as_json
    )


def delta(
    graft: GraftArgument,
    instruct: Annotated[
        str, typer.Option("--instruct", help="Instruct model made from the graft's base.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the new graft.")],
) -> None:
    """Add what an instruct model learned to a graft of its base, without alignment data."""
    from langraft.export.delta import add_instruct_delta
    from langraft.graft.description import graft_folder_of

    moved = add_instruct_delta(graft_folder_of(graft), instruct, out)
    typer.echo(f"{out}: {moved} experts moved, on the base {instruct}. langraft chat {out}")


def detach(
    graft: Annotated[
        Path, typer.Argument(help="A graft that was expanded again, or a run folder with graft/.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the graft that is left.")],
) -> None:
    """Take the last expansion's experts away again: what is left is the earlier graft."""
    from langraft.graft.description import base_of, graft_folder_of
    from langraft.graft.store import load, save
    from langraft.graft.surgery import detach_expansion, graft_info

    folder = graft_folder_of(graft)
    model = load(folder)
    gone = detach_expansion(model).languages
    save(model, out, base=base_of(folder))
    left = graft_info(model).languages
    typer.echo(
        f"{out}: without {', '.join(gone.new) if gone else 'the last expansion'}; "
        f"new languages left: {', '.join(left.new) if left else 'those before'}."
    )


def merge(
    graft: Annotated[
        Path, typer.Argument(help="A graft of the method full, or a run folder with graft/.")
    ],
    weight: Annotated[
        float,
        typer.Option(
            "--weight", min=0.0, max=1.0, help="Of the trained model, between 0, the base, and 1."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the merged graft.")],
) -> None:
    """Merge a fully trained model with its base, weight by weight: (1 - a) base + a trained."""
    from langraft.graft.base_tensors import merge_with_base
    from langraft.graft.description import GRAFT_TOKENIZER, base_of, graft_folder_of
    from langraft.graft.store import load, save

    folder = graft_folder_of(graft)
    model = load(folder)
    base = base_of(folder)
    merge_with_base(model, base, weight)
    own = folder / GRAFT_TOKENIZER
    save(model, out, base=base, tokenizer=own if own.is_dir() else None)
    typer.echo(f"{out}: {weight:g} of {folder}, {1 - weight:g} of its base. langraft export {out}")
