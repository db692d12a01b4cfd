"""The verb ``langraft init``: from a base and text to a recipe that runs."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from langraft.cli.run import JsonOption
from langraft.core.errors import RecipeError

if TYPE_CHECKING:
    from langraft.recipes.beginning.begin import Begun
    from langraft.recipes.beginning.look_at_base import BaseFacts
    from langraft.recipes.beginning.look_at_text import TextFacts


_SAID_DROPS = 0.05  # of the documents tried, from which reasons are said
_SAID_REASONS = 2


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where recipe.yaml is written.")],
    base: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Folder, hub name or GGUF file of the base.")
    ] = None,
    new: Annotated[
        str | None, typer.Option(metavar="hu,sw", help="Languages to learn, by commas.")
    ] = None,
    original: Annotated[
        str | None, typer.Option(metavar="en", help="Languages to keep, by commas.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[LANG=]PATH",
            help="Files, folders, globs or addresses of text; once for each. Its language is that "
            "given, or in its name, or identified.",
        ),
    ] = None,
    tokens: Annotated[
        str | None, typer.Option(metavar="50M", help="Budget [default: the text once].")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a base and at text, and write a commented recipe that runs.

    What is not given is asked for in a terminal. Says what the base is and who serves the result,
    which languages the text is in, how much of it there is and what the filters would drop.
    """
    from langraft.recipes.beginning.begin import begin

    given = _ask({"base": base, "original": original, "text": text, "new": new})
    begun = begin(
        folder,
        base=given["base"],
        original=_codes(given["original"]),
        new=_codes(given["new"]),
        text=given["text"],
        tokens=tokens,
    )
    if as_json:
        typer.echo(json.dumps(begun.to_json(), indent=2, ensure_ascii=False))
        return
    typer.echo(_base_lines(begun.beginning.base))
    typer.echo(_text_table(begun.beginning.texts.values()))
    for facts in begun.beginning.texts.values():
        if remark := _drops(facts):
            typer.echo(remark)
    for note in begun.notes:
        typer.echo(f"note: {note}")
    typer.echo(_next(begun))


def _ask(given: Mapping[str, Any]) -> dict[str, Any]:
    """Ask for what is not given, in a terminal.

    Raises:
        RecipeError: when something is not given and there is nobody to ask.
    """
    questions = {
        "base": ("The base: folder, hub name or GGUF file", None),
        "original": ("Languages to keep, by commas", "en"),
        "text": ("Text: files or folders, by commas", None),
        "new": ("Languages to learn, by commas", None),
    }
    missing = [name for name, value in given.items() if not value]
    if missing and not (sys.stdin and sys.stdin.isatty()):  # None where there is no input at all
        raise RecipeError(
            f"init needs {', '.join(f'--{name}' for name in missing)} too, such as: langraft init "
            "my-run --base HuggingFaceTB/SmolLM2-135M --original en --new hu,sw --text text/."
        )
    answers = dict(given)
    for name in missing:
        question, default = questions[name]
        answer = typer.prompt(question, default=default)
        answers[name] = [part.strip() for part in answer.split(",")] if name == "text" else answer
    return answers


def _codes(given: str) -> tuple[str, ...]:
    from langraft.core.language import check_language

    codes: list[str] = []
    for code in filter(None, (part.strip() for part in given.split(","))):
        try:
            codes.append(check_language(code))
        except ValueError as error:
            raise RecipeError(f"given {code!r} as a language: {error}.") from None
    return tuple(dict.fromkeys(codes))


def _base_lines(base: BaseFacts) -> str:
    from langraft.core.in_words.quantities import short_count

    context = f", context {base.context:,}" if base.context else ""
    lines = [
        f"base: {base.reference}, {base.model_type}, {short_count(base.num_parameters)} parameters "
        f"in {base.num_layers} layers{context}",
        f"export: {base.export}",
        *(f"  {note}" for note in base.serving),
    ]
    return "\n".join(lines)


def _text_table(texts: Sequence[TextFacts] | Any) -> str:
    from langraft.core.language import language_name
    from langraft.recipes.beginning.write_recipe import about
    from langraft.report.tables import format_table

    header = ["language", "files", "documents", "MB", "tokens", "bytes a token", "dropped"]
    rows = [
        [
            f"{language_name(facts.language)} ({facts.language})",
            f"{len(facts.files)}",
            f"{facts.num_documents:,}{'+' if facts.is_estimated else ''}",
            f"{facts.num_bytes / 1e6:.1f}",
            about(facts.num_tokens),
            f"{facts.bytes_per_token:.1f}",
            f"{facts.dropped_share:.0%}",
        ]
        for facts in texts
    ]
    return format_table(header, rows)


def _drops(facts: TextFacts) -> str:
    """Say why the filters would drop some of a language, in full where it is much; else ''."""
    from langraft.core.language import language_name
    from langraft.corpus.heavy_drops import describe_heavy_drops, heavy_drops_of

    found = heavy_drops_of(facts.drops, facts.num_tried)
    beginning = (
        f"{language_name(facts.language)}: the filters would drop {facts.dropped_share:.0%} of "
        f"{facts.num_tried:,} documents tried"
    )
    if found is not None:
        return describe_heavy_drops(beginning, found)
    if facts.dropped_share < _SAID_DROPS:
        return ""
    reasons = facts.drops.documents.most_common(_SAID_REASONS)
    shares = (f"{reason} ({count / facts.num_tried:.0%})" for reason, count in reasons)
    return f"{beginning}, mostly for {', '.join(shares)}"


def _next(begun: Begun) -> str:
    from langraft.core.in_words.quantities import duration

    typed = shlex.quote(str(begun.recipe))
    hours = begun.cpu_hours
    here = f", about {duration(3600 * hours)} on this machine's CPU" if hours is not None else ""
    return (
        f"recipe: {begun.recipe}\n"
        f"training: {begun.training_flops:.1e} FLOPs{here}; on another machine: "
        f"langraft plan {typed} --accelerator RTX-4090\n"
        f"next: langraft plan {typed}\n"
        f"      langraft run {typed}\n"
        f"      langraft chat runs/{begun.beginning.name}"
    )
