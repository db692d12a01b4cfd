"""The verbs of ``langraft``. Results go to stdout, talk to stderr; heavy imports stay inside."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from langraft import __version__
from langraft.cli.instruct import app as instruct_app
from langraft.cli.tokenizer import app as tokenizer_app
from langraft.core.errors import InterruptedRunError, LangraftError

if TYPE_CHECKING:
    from langraft.recipes.pipeline import Until

app = typer.Typer(
    name="langraft",
    help="Graft new languages onto a pretrained language model and keep the old ones.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(tokenizer_app)
app.add_typer(instruct_app)

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


def main() -> None:
    """Run the command line; a user's mistake is one message and exit status 2."""
    try:
        app()
    except InterruptedRunError as error:
        typer.echo(f"langraft: {error}", err=True)
        sys.exit(128 + error.signal_number)
    except LangraftError as error:
        typer.echo(f"langraft: {error}", err=True)
        sys.exit(2)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        typer.echo(f"langraft {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Version.")
    ] = False,
) -> None:
    del version


def _add_recipe_verb(verb: Until, name: str, description: str) -> None:
    """Add a verb that carries out a recipe up to its own work."""

    @app.command(name, help=description)
    def command(  # pyright: ignore[reportUnusedFunction]
        recipe: RecipeArgument,
        out: OutOption = None,
        changes: SetOption = None,
        as_json: JsonOption = False,
        dry_run: DryOption = False,
    ) -> None:
        _carry_out(recipe, out, changes, verb, as_json=as_json, dry_run=dry_run)


_add_recipe_verb(
    "report",
    "run",
    "Carry out a recipe: corpus, training, evaluation, export, report. Run it again to go on.",
)
_add_recipe_verb(
    "train",
    "train",
    "Train all stages of a recipe. Several processes: torchrun -m langraft train RECIPE.",
)
_add_recipe_verb("evaluate", "evaluate", "Train and evaluate: gain and forgetting.")
_add_recipe_verb(
    "report", "report", "Write report.html and the model card, and run whatever they lack."
)


@app.command()
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


@app.command()
def export(
    graft: Annotated[
        Path, typer.Argument(help="A graft folder (graft.json), or a run folder that has graft/.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to make.")],
    base: Annotated[
        str | None, typer.Option("--base", help="Where the base is now, if it has moved.")
    ] = None,
    form: Annotated[
        Literal["auto", "standard", "portable"],
        typer.Option("--format", help="A standard class, a portable folder, or what fits."),
    ] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Write a graft as a folder that transformers, vLLM and others load, proved equal."""
    from langraft.export.folder import export_model

    folder = _graft_folder(graft)
    result = export_model(folder, out, base=base, wanted=form)
    found = {
        "folder": str(out),
        "architecture": result.architecture,
        "experts": result.num_experts,
        "weight_bytes": result.num_bytes,
        "largest_difference": result.largest_difference,
        "caveat": result.caveat,
    }
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(
        f"{out}: {result.architecture}, logits agree to {result.largest_difference:.1e}."
        + (f"\nNote: {result.caveat}" if result.caveat else "")
    )


@app.command()
def plan(
    recipe: RecipeArgument,
    out: OutOption = None,
    picture: Annotated[
        Path | None,
        typer.Option("--picture", metavar="FILE.png", help="Draw the shares of all text too."),
    ] = None,
    accelerator: Annotated[
        str | None,
        typer.Option(
            help="Also say how long it takes on A100-40, A100-80, H100, H200, B200, L40S, MI300X "
            "or cpu, and which settings fit."
        ),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Devices, one process each.")] = 1,
    share_of_peak: Annotated[
        float,
        typer.Option(
            min=0.01, max=1.0, help="Of the accelerator's peak, what matrix products reach."
        ),
    ] = 0.4,
    changes: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a recipe costs and reads before anything is spent.

    Parameters, FLOPs and memory, and for a named accelerator time and settings that fit; of the
    text tokens, shares over the run and repetition, which is known once the corpus step of the run
    folder is done, or where sources name their tokens.
    """
    from langraft.cli.cost import cost_text
    from langraft.cli.lanes import draw_lanes
    from langraft.cli.show import text_table
    from langraft.recipes.load import load_recipe
    from langraft.recipes.machine import find_machine
    from langraft.recipes.steps import plan_recipe
    from langraft.recipes.text_plan import plan_text

    loaded = load_recipe(recipe, changes or [])
    machine = find_machine(accelerator, devices, share_of_peak)
    plans = plan_recipe(loaded, machine)
    texts = plan_text(loaded, out or Path("runs") / loaded.name)
    if picture is not None:
        from langraft.recipes.text_picture import draw_text

        draw_text(texts[loaded.method.key], loaded.name, picture)
    if as_json:
        found = {p.method: p.to_json() for p in plans}
        for method, text in texts.items():
            found[method]["text"] = text.to_json()
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(cost_text(plans))
    for method in (loaded.method, *(m for m in loaded.baselines if m.stages)):
        typer.echo(f"What {method.key} reads\n")
        typer.echo(draw_lanes(texts[method.key]))
        typer.echo(text_table(texts[method.key]))


@app.command()
def delta(
    graft: Annotated[
        Path, typer.Argument(help="A graft folder (graft.json), or a run folder that has graft/.")
    ],
    instruct: Annotated[
        str, typer.Option("--instruct", help="Instruct model made from the graft's base.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the new graft.")],
) -> None:
    """Add what an instruct model learned to a graft of its base, without alignment data."""
    from langraft.export.delta import add_instruct_delta

    folder = _graft_folder(graft)
    moved = add_instruct_delta(folder, instruct, out)
    typer.echo(f"{out}: {moved} experts moved, on the base {instruct}. langraft chat {out}")


@app.command()
def detach(
    graft: Annotated[
        Path, typer.Argument(help="A graft that was expanded again, or a run folder with graft/.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the graft that is left.")],
) -> None:
    """Take the last expansion's experts away again: what is left is the earlier graft."""
    from langraft.graft.store import base_of, load, save
    from langraft.graft.surgery import detach_expansion, graft_info

    folder = _graft_folder(graft)
    model = load(folder)
    gone = detach_expansion(model).languages
    save(model, out, base=base_of(folder))
    left = graft_info(model).languages
    typer.echo(
        f"{out}: without {', '.join(gone.new) if gone else 'the last expansion'}; "
        f"new languages left: {', '.join(left.new) if left else 'those before'}."
    )


@app.command()
def compare(
    recipe: RecipeArgument,
    out: OutOption = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Methods, separated by commas [default: the recipe's and its baselines]."
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds a method is run with.")] = 1,
    changes: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare methods: same base, same tokens in the same order. Run it again to go on."""
    from langraft.cli.show import method_table
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


@app.command()
def chat(
    folder: Annotated[
        Path, typer.Argument(help="A graft folder, a run folder, or an exported folder.")
    ],
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="Answer this and exit; otherwise read lines.")
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 128,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 picks the likeliest.")] = 0.0,
    template: Annotated[
        str | None,
        typer.Option(
            help="Chat template of a model without one: polylm, polylm_task or a Jinja file."
        ),
    ] = None,
    experts: Annotated[
        bool,
        typer.Option(
            "--experts", help="After an answer, how much of it the original expert carried."
        ),
    ] = False,
    guard: Annotated[
        str,
        typer.Option(
            help="auto: the base itself answers in original languages; or some of these, en,es."
        ),
    ] = "off",
    identifier: Annotated[
        Path | None,
        typer.Option(help="fastText model that tells languages apart; without one, lingua."),
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option(help="Run the modelling file of a portable export.")
    ] = False,
) -> None:
    """Talk to a model: with its chat template if it has one, else it continues the text.

    Answers are written as they come; Ctrl-C ends an answer, Ctrl-D the conversation.
    """
    from langraft.cli.chat import Chat, converse

    talk = Chat(
        folder,
        max_tokens=max_tokens,
        temperature=temperature,
        guard=guard,
        identifier=identifier,
        has_own_code=trust_remote_code,
        template=template,
    )
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # a byte that is no UTF-8 is no reason to end
    converse(talk, sys.stdin if prompt is None else None, prompt or "", shows_experts=experts)


def _graft_folder(given: Path) -> Path:
    """Return the graft of a run folder, or the folder itself."""
    return given / "graft" if (given / "graft").is_dir() else given


def _carry_out(
    name: str,
    out: Path | None,
    changes: list[str] | None,
    until: Until,
    *,
    as_json: bool,
    dry_run: bool,
) -> Path:
    """Carry out a recipe up to a verb's work and show the result; returns the run's folder."""
    from langraft.cli.show import comparison_table
    from langraft.recipes.load import load_recipe
    from langraft.recipes.run import run as run_recipe

    recipe = load_recipe(name, changes or [])
    folder = out or Path("runs") / recipe.name
    result = run_recipe(recipe, folder, until=until, is_dry=dry_run)
    if int(os.environ.get("RANK", "0")):
        return folder  # under torchrun one process speaks for all
    found: dict[str, Any] = {
        "folder": str(folder),
        "steps": result.steps,
        "methods": {method: card.to_json() for method, card in result.scorecards.items()},
        "report": str(result.report) if result.report else None,
    }
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif dry_run:
        typer.echo("\n".join(f"{state:<9} {step}" for step, state in result.steps.items()))
    else:
        if result.scorecards:
            typer.echo(comparison_table(result.scorecards))
        typer.echo(f"report: {result.report}" if result.report else f"done: {folder}")
    return folder
