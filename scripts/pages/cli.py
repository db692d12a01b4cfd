"""reference/cli.md: the real ``--help`` of every verb."""

from __future__ import annotations

from typer.main import get_command
from typer.testing import CliRunner

from langraft.cli.main import app
from pages import page

PATH = "reference/cli.md"


def render() -> str:
    """Return the page."""
    verbs = get_command(app).commands  # pyright: ignore[reportAttributeAccessIssue]
    blocks = [
        "Results go to standard output, progress and messages to standard error. A mistake of the "
        "user ends with one message and exit status 2; a run that a signal stopped ends with 128 + "
        "the signal's number, after a checkpoint.",
        _block([]),
    ]
    for verb, command in verbs.items():
        blocks += [f"## {verb}", _block([verb])]
        for inner in getattr(command, "commands", {}):
            blocks += [f"### {verb} {inner}", _block([verb, inner])]
    return page("Command line", *blocks)


def _block(verb: list[str]) -> str:
    result = CliRunner().invoke(
        app, [*verb, "--help"], prog_name="langraft", env={"COLUMNS": "88", "TERMINAL_WIDTH": "88"}
    )
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.output.strip().splitlines()]
    return "\n".join(["```text", f"$ langraft {' '.join([*verb, '--help'])}", *lines, "```"])
