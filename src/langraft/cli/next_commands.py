"""What a user may type after a run: talk to the model, serve it, verify the server, share it."""

from __future__ import annotations

import shlex
from pathlib import Path

from langraft.core.files import read_json

_WIDTH = 80
_PORT = {"vllm": 8000, "llama.cpp": 8080}


def next_commands(run_folder: Path) -> str:
    """Return the commands that make sense for a run, with its paths; empty where none does.

    Args:
        run_folder: Of a run; what its recipe exported says how it is served.
    """
    commands: list[str] = []
    if (run_folder / "graft" / "graft.json").is_file():
        commands.append(f"langraft chat {_quoted(run_folder)}")
    export = run_folder / "export"
    if (export / "config.json").is_file():
        serve, server = _serve(export)
        commands.append(serve)
        if (export / "reference.json").is_file():
            url = f"http://localhost:{_PORT[server]}"
            commands.append(_folded(f"langraft verify {url}", f"--export {_quoted(export)}"))
        commands.append(_folded(f"langraft push {_quoted(run_folder)}", "--to OWNER/NAME"))
    return "\n".join(["next:", *(f"  {command}" for command in commands)]) if commands else ""


def _serve(export: Path) -> tuple[str, str]:
    """Return the command that serves an export, and which server that is."""
    files = sorted(export.glob("*.gguf"))
    if files:
        port = f"--port {_PORT['llama.cpp']}"
        return _folded(f"llama-server -m {_quoted(files[0])}", port), "llama.cpp"
    command = f"vllm serve {_quoted(export)}"
    has_own_code = "auto_map" in read_json(export / "config.json", dict[str, object])
    return (_folded(command, "--trust-remote-code") if has_own_code else command), "vllm"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _folded(command: str, option: str) -> str:
    """Join a command and its option; on two lines where they are too long for one."""
    joined = f"{command} {option}"
    return joined if len(joined) + 2 <= _WIDTH else f"{command} \\\n      {option}"
