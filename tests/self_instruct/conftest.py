"""The scripted teacher as a process, and configs that ask it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from listeners import Heard


@dataclass(frozen=True)
class Server:
    """A scripted teacher that runs."""

    address: str
    log: Path

    def requests(self) -> list[dict[str, Any]]:
        text = self.log.read_text("utf-8") if self.log.is_file() else ""
        return [json.loads(line) for line in text.splitlines()]


Serve = Callable[..., Server]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a scripted teacher; its keys are those of the script."""
    running: list[subprocess.Popen[str]] = []

    def start(**script: Any) -> Server:
        log = tmp_path / f"server{len(running)}.jsonl"
        command = [sys.executable, str(Path(__file__).parent / "scripted_teacher.py")]
        process = subprocess.Popen(
            [*command, json.dumps(script), str(log)], stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert process.stdout is not None
        return Server(f"http://127.0.0.1:{process.stdout.readline().strip()}/v1", log)

    yield start
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., Path]:
    """Write a config of a small run against an address."""

    def write(address: str, teacher: dict[str, Any] | None = None, **changes: Any) -> Path:
        data = {
            "languages": ["en"],
            "teacher": {
                "name": "endpoint",
                "address": address,
                "model": "scripted",
                "backoff": 0.05,
                "max_tokens": 100,
                **(teacher or {}),
            },
            "rounds": 2,
            "prompts": 6,
            "first_prompts": 3,
            "new_tasks": 4,
            **changes,
        }
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(data), "utf-8")
        return path

    return write
