"""The commands that a run's terminal and its pages name as next."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from langraft.export.next_commands import next_commands


def folder_of(folder: Path, files: Iterable[str]) -> Path:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("{}", encoding="utf-8")
    return folder


@pytest.mark.parametrize("graft", ["graft.json", "graft/graft.json"])
def test_a_graft_without_export_is_exported_first(tmp_path: Path, graft: str) -> None:
    folder = folder_of(tmp_path / "run", [graft])
    assert next_commands(folder) == [
        f"langraft chat {folder}",
        f"langraft export {folder} --out {folder}-export",
        f"vllm serve {folder}-export",
        f"langraft push {folder}-export --to OWNER/NAME",
    ]


def test_an_export_is_served_by_who_has_its_form_and_verified_there(tmp_path: Path) -> None:
    files = ("graft/graft.json", "export/config.json", "export/reference.json")
    folder = folder_of(tmp_path / "my run", [*files, "export/model-q8_0.gguf"])
    assert next_commands(folder) == [
        f"langraft chat '{folder}'",
        f"llama-server -m '{folder}/export/model-q8_0.gguf' --port 8080",
        f"langraft verify http://localhost:8080 --export '{folder}/export'",
        f"langraft push '{folder}' --to OWNER/NAME",
    ]


def test_without_a_graft_there_is_nothing_to_type(tmp_path: Path) -> None:
    assert next_commands(folder_of(tmp_path / "run", ["export/config.json"])) == []
