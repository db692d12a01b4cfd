"""The scripts that measure a real base run whole, on a tiny one and a processor."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = "the house stands by the river and το σπίτι είναι δίπλα στο ποτάμι a ház a folyó mellett"
LANGUAGES = ("en", "el", "hu", "tr", "fr", "es")
WITHOUT_BENCHMARKS = ("--set", "evaluate.suites=[]", "--set", "evaluate.data_dir=null")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    for code in LANGUAGES:
        with gzip.open(folder / f"{code}.jsonl.gz", "wt", encoding="utf-8") as file:
            for number in range(200):
                words = WORDS.split()
                begin = number % len(words)
                record = {
                    "id": f"{code}-{number}",
                    "source": "factbook" if code == "en" and number % 4 == 0 else "novel",
                    "text": f"{number} " + " ".join(words[begin:] + words[:begin]),
                }
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return folder


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / script), *map(str, arguments)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.thorough
def test_the_script_for_accelerators_trains_compares_and_says_how_fast(
    text: Path, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base, out = save_base(), tmp_path / "out"
    budget = ("--tokens", "1k", "--rows", 2, "--micro-rows", 1, "--length", 64, "--heldout", 300)
    said = run("gpu.py", out, "--text", text, "--base", base, *budget, *WITHOUT_BENCHMARKS)
    found = json.loads((out / "gpu.json").read_text())
    assert found["ceiling"] > 0
    for name in ("graft", "full_replay"):
        assert f"| {name} |" in said
        assert found["found"][name]["tokens_per_second"] > 0
        assert found["found"][name]["peak_bytes"] > 0
    table = run("real_table.py", out / "compare")
    assert "| `graft` |" in table
    assert "| `full_replay` |" in table


@pytest.mark.thorough
def test_the_trainer_and_langraft_take_turns_on_the_same_rows(
    text: Path, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    shape = ("--length", 64, "--rows", 2, "--micro-rows", 1, "--rounds", 1)
    said = run("real_speed.py", save_base(), "--text", text, *shape, "--out", tmp_path)
    for name in ("full", "graft", "Trainer, full", "Trainer, LoRA"):
        assert f"| {name} |" in said
    assert (tmp_path / "real_speed-cpu.json").is_file()
