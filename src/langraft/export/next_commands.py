"""What a user may type after a run: talk to the model, serve it, verify the server, share it."""

from __future__ import annotations

import shlex
from pathlib import Path

from langraft.core.files import read_json
from langraft.graft.description import graft_folder_of, is_graft

_PORT = {"vllm": 8000, "llama.cpp": 8080}


def next_commands(folder: Path) -> list[str]:
    """Return the commands that make sense for a graft, its export first where there is none.

    Args:
        folder: A run's folder, or a graft's; none where it has no graft.
    """
    if not is_graft(graft_folder_of(folder)):
        return []
    chat, export = f"langraft chat {_quoted(folder)}", folder / "export"
    if not (export / "config.json").is_file():
        new = _quoted(Path(f"{folder}-export"))
        return [
            chat,
            f"langraft export {_quoted(folder)} --out {new}",
            f"vllm serve {new}",
            f"langraft push {new} --to OWNER/NAME",
        ]
    serve, server = _serve(export)
    commands = [chat, serve]
    if (export / "reference.json").is_file():
        url = f"http://localhost:{_PORT[server]}"
        commands.append(f"langraft verify {url} --export {_quoted(export)}")
    return [*commands, f"langraft push {_quoted(folder)} --to OWNER/NAME"]


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
