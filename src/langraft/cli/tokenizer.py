"""The verbs of ``langraft tokenizer``: train, extend, report."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from langraft.cli.run import JsonOption
from langraft.core.errors import RecipeError

app = typer.Typer(
    name="tokenizer",
    help="Train, extend and measure tokenizers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _vocab_size(given: str) -> int:
    from langraft.core.settings.tokenizer import TokenizerTraining

    with _usage_errors():
        return TokenizerTraining.model_validate({"vocab_size": given}).vocab_size


def _new_tokens(given: str) -> int:
    from langraft.core.settings.tokenizer import TokenizerExtension

    with _usage_errors():
        return TokenizerExtension.model_validate({"new_tokens": given}).new_tokens


@contextlib.contextmanager
def _usage_errors() -> Generator[None]:
    """Raise what a recipe's check says of a value as an error of the command line."""
    from pydantic import ValidationError

    from langraft.core.settings.settings import first_mistake

    try:
        yield
    except ValidationError as error:
        raise typer.BadParameter(first_mistake(error)) from None


RecipeOption = Annotated[
    str | None, typer.Option("--recipe", metavar="RECIPE", help="Recipe whose text is read.")
]
TextOption = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        metavar="LANG=FILE",
        help="Text of a language: .jsonl (key text) or .txt, also compressed, or a folder.",
    ),
]


@app.command()
def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="Its original and new languages are read.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    vocab_size: Annotated[
        int,
        typer.Option(parser=_vocab_size, metavar="N", help="Entries, bytes included: 32k, 256k."),
    ] = 32_000,
    exponent: Annotated[
        float,
        typer.Option(min=0, max=1, help="A language's share: its bytes of text to this power."),
    ] = 0.3,
) -> None:
    """Train a byte-level BPE tokenizer on a recipe's text, balanced between languages.

    Letters keep their combining marks, numbers are cut into digits.
    """
    from langraft.core.ownership import replaced_folder
    from langraft.core.settings.tokenizer import TokenizerTraining
    from langraft.recipes.load import load_recipe
    from langraft.recipes.steps.tokenizers import languages_to_tokenize, train_on_corpus

    loaded = load_recipe(recipe)
    wanted = TokenizerTraining(vocab_size=vocab_size, exponent=exponent, words="marks")
    mixture = languages_to_tokenize(loaded.languages)
    with replaced_folder(out, "a tokenizer", inputs=[Path(recipe)]) as folder:
        train_on_corpus(loaded.corpus, wanted, mixture, folder)
    typer.echo(f"{out}: {vocab_size:,} entries for {', '.join(mixture)}.")


@app.command()
def extend(
    base: Annotated[str, typer.Argument(help="Folder, hub name or GGUF file of the base.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    new_tokens: Annotated[
        int, typer.Option(parser=_new_tokens, metavar="N", help="Entries to add: 2k, 8k.")
    ] = 8000,
    recipe: RecipeOption = None,
    texts: TextOption = None,
    originals: Annotated[
        list[str] | None,
        typer.Option(
            "--original",
            metavar="LANG=FILE",
            help="Text of a language of the base: merges that are frequent there are left out.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Add tokens for new languages to a base's tokenizer by continued BPE."""
    from langraft.cli.texts import read_texts
    from langraft.core.ownership import replaced_folder
    from langraft.families.load import FILES_OF_TOKENIZER, resolve_base
    from langraft.graft.description import tokenizer_folder
    from langraft.recipes.load import load_recipe
    from langraft.recipes.steps.tokenizers import extend_on_recipe
    from langraft.tokenizers.extension import extend_tokenizer

    _refuse_two(recipe, texts)
    folder = tokenizer_folder(resolve_base(base, FILES_OF_TOKENIZER))
    with replaced_folder(out, "a tokenizer", inputs=(folder, *_files(texts, originals))) as partial:
        if recipe is not None:
            extension = extend_on_recipe(load_recipe(recipe), new_tokens, folder, partial)
        else:
            extension = extend_tokenizer(
                folder,
                partial,
                texts=read_texts(texts or ()),
                num_new_tokens=new_tokens,
                original_texts=read_texts(originals or ()),
            )
    found = {
        "folder": str(out),
        "new_tokens": len(extension.tokens),
        "first_new_id": extension.first_new_id,
    }
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    fewer = "" if len(extension.tokens) == new_tokens else f" (the text gives no {new_tokens:,})"
    typer.echo(
        f"{out}: {len(extension.tokens):,} new tokens{fewer}, ids from {extension.first_new_id:,}."
    )


@app.command()
def report(
    tokenizers: Annotated[
        list[str],
        typer.Argument(metavar="TOKENIZER...", help="Folder, hub name, GGUF file, or NAME=FOLDER."),
    ],
    texts: TextOption = None,
    aligned: Annotated[
        Path | None,
        typer.Option(help="JSONL of aligned sentences with a key for each language: parity too."),
    ] = None,
    languages: Annotated[
        str | None,
        typer.Option(help="With --aligned: keys, the one that parity is relative to first: en,el."),
    ] = None,
    recipe: RecipeOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for tokenizers.json and tokenizers.png.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare tokenizers by language: bytes a token, tokens a word, parity, cut characters."""
    from langraft.cli.texts import read_aligned, read_texts
    from langraft.core.files import write_json
    from langraft.core.ownership import replaced_folder
    from langraft.families.load import FILES_OF_TOKENIZER, resolve_base
    from langraft.graft.description import tokenizer_folder
    from langraft.recipes.load import load_recipe
    from langraft.recipes.steps.tokenizers import recipe_texts
    from langraft.report.tokenizers import draw_tokenizers, tokenizer_table
    from langraft.tokenizers.fertility import measure_tokenizer

    _refuse_two(recipe, texts, aligned)
    if (aligned is None) != (languages is None):
        raise RecipeError("--aligned and --languages go together: --aligned FILE --languages en,el")
    codes = languages.split(",") if languages else []
    reference = codes[0] if codes else None
    if aligned is not None:
        found = read_aligned(aligned, codes)
    else:
        found = recipe_texts(load_recipe(recipe)) if recipe else read_texts(texts or ())
    measured = {
        name: measure_tokenizer(
            tokenizer_folder(resolve_base(folder, FILES_OF_TOKENIZER)),
            found,
            reference,
        )
        for name, folder in _named(tokenizers).items()
    }
    plain = {
        name: {code: fertility.to_json() for code, fertility in of_name.items()}
        for name, of_name in measured.items()
    }
    if out is not None:
        inputs = (*map(Path, _named(tokenizers).values()), *_files(texts))
        with replaced_folder(out, "a comparison of tokenizers", inputs=inputs) as folder:
            draw_tokenizers(measured, folder / "tokenizers.png", reference=reference)
            write_json(folder / "tokenizers.json", plain)
    typer.echo(json.dumps(plain, indent=2) if as_json else tokenizer_table(measured), nl=as_json)
    if out is not None:
        typer.echo(f"picture: {out / 'tokenizers.png'}", err=True)


def _files(*given: Sequence[str] | None) -> list[Path]:
    """Return the files of LANG=FILE options."""
    return [Path(entry.partition("=")[2]) for entries in given for entry in entries or ()]


def _named(given: Sequence[str]) -> dict[str, str]:
    """Return folders by name: the given name, or the last part of the folder if that is unique."""
    pairs = [entry.partition("=")[::2] if "=" in entry else ("", entry) for entry in given]
    last = [folder.rstrip("/").rpartition("/")[2] for _, folder in pairs]
    return {
        name or (short if last.count(short) == 1 else folder): folder
        for (name, folder), short in zip(pairs, last, strict=True)
    }


def _refuse_two(*given: object) -> None:
    if sum(bool(entry) for entry in given) != 1:
        raise RecipeError(
            "Say once which text is read: --text LANG=FILE (several times), --recipe RECIPE"
            + (", or --aligned FILE." if len(given) > 2 else ".")
        )
