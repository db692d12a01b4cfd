"""The command ``langraft``: its verbs, and how it reports errors.

Results go to stdout, messages to stderr. Heavy imports stay inside the verbs, so that ``--help`` is
fast.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from langraft import __version__
from langraft.cli import graft, init, plan, push, run
from langraft.cli.instruct import app as instruct_app
from langraft.cli.talk import verbs as talk
from langraft.cli.tokenizer import app as tokenizer_app
from langraft.core.errors import InterruptedRunError, LangraftError
from langraft.core.system_errors import explain_system_error

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
for name, verb in {
    "init": init.init,
    "run": run.run,
    "train": run.train,
    "evaluate": run.evaluate,
    "report": run.report,
    "corpus": run.corpus,
    "export": graft.export,
    "verify": graft.verify,
    "push": push.push,
    "plan": plan.plan,
    "delta": graft.delta,
    "detach": graft.detach,
    "merge": graft.merge,
    "compare": run.compare,
    "chat": talk.chat,
    "ui": talk.ui,
}.items():
    app.command(name)(verb)


def main() -> None:
    """Run the command line; a mistake, or what the system refuses, is one message and status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that is no Unicode can be printed
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except InterruptedRunError as error:
        typer.echo(f"langraft: {error}", err=True)
        sys.exit(128 + error.signal_number)
    except LangraftError as error:
        typer.echo(f"langraft: {error}", err=True)
        sys.exit(2)
    except Exception as error:
        explained = explain_system_error(error)
        if explained is None:
            raise
        typer.echo(f"langraft: {explained}", err=True)
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
