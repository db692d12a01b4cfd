from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from harness_setup import BELEBELE, LONG, XCOPA, write_lines

from langraft.evaluate.benchmarks.harness import harness_model
from langraft.families.load import load_tokenizer
from tiny import tiny_model


@pytest.fixture(scope="session")
def wrapped(tokenizer_folder: Path) -> Generator[Any]:
    """A tiny model as the harness holds one, with a context that prompts fit in."""
    tokenizer = load_tokenizer(tokenizer_folder)
    with harness_model(tiny_model(**LONG), tokenizer, batch_size=4) as found:
        yield found


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    write_lines(tmp_path / "bench/xcopa/tr.test.jsonl", XCOPA)
    write_lines(tmp_path / "bench/belebele/el.jsonl", BELEBELE)
    return tmp_path / "bench"
