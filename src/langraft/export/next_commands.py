"""What a user may type after a run: talk to the model, serve it, verify the server, share it."""

from __future__ import annotations

import shlex
from pathlib import Path

from langraft.core.files import read_json

_PORT = {"vllm": 8000, "llama.cpp": 8080}


def next_commands(folder: Path, export: Path) -> list[str]:
    """Return the commands that make sense for a graft and its export.

    Args:
        folder: Folder that may have ``graft/``, as a run has.
        export: Its exported folder, which need not exist.
    """
    commands: list[str] = []
    if (folder / "graft" / "graft.json").is_file():
        commands.append(f"langraft chat {_quoted(folder)}")
    if (export / "config.json").is_file():
        serve, server = _serve(export)
        commands.append(serve)
        if (export / "reference.json").is_file():
            url = f"http://localhost:{_PORT[server]}"
            commands.append(f"langraft verify {url} --export {_quoted(export)}")
        commands.append(f"langraft push {_quoted(folder)} --to OWNER/NAME")
    return commands


def export_commands(folder: Path) -> list[str]:
    """Return the commands for a graft that has not been exported, with the one that does it."""
    export = _quoted(Path(f"{folder}-export"))
    return [
        f"langraft chat {_quoted(folder)}",
        f"langraft export {_quoted(folder)} --out {export}",
        f"vllm serve {export}",
        f"langraft push {export} --to OWNER/NAME",
    ]


def _serve(export: Path) -> tuple[str, str]:
    """Return the command that serves an export, and which server that is."""
    files = sorted(export.glob("*.gguf"))
    if files:
        return f"llama-server -m {_quoted(files[0])} --port {_PORT['llama.cpp']}", "llama.cpp"
    has_own_code = "auto_map" in read_json(export / "config.json", dict[str, object])
    option = " --trust-remote-code" if has_own_code else ""
    return f"vllm serve {_quoted(export)}{option}", "vllm"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
