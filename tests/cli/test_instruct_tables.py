"""What is said at the end of ``langraft instruct generate``."""

from __future__ import annotations

from typing import Any

import pytest

from langraft.cli.tables.instruct_tables import estimate_table, result_table
from langraft.self_instruct.estimate import Estimate


def manifest(**changes: Any) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "kept": 9,
        "wanted": 100,
        "read": 20,
        "yield": 0.45,
        "dropped": {"similar": 11},
        "translation": {"left_out": 47},
        "rounds": [],
        "prompt_tokens": 10,
        "answer_tokens": 20,
        "faults": {},
    }
    return {"languages": {"el": counts | changes}, "cost": 0.5}


def test_what_was_wanted_and_not_reached_is_said() -> None:
    told = result_table(manifest())
    assert "note: el: 9 of 100 tasks wanted; more rounds bring more; 47 seeds left out" in told


def test_nothing_is_said_where_nothing_is_missing() -> None:
    assert "note:" not in result_table(manifest(wanted=None, translation=None))
    assert "note:" not in result_table(manifest(kept=120, translation={"left_out": 0}))


def test_the_tables_fit_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    reasons = {"similar to an earlier task": 1100, "not in the language": 320, "no output": 47}
    made = manifest(dropped=reasons, read=12_000, prompt_tokens=9 * 10**6)
    estimate = Estimate(
        language="el",
        requests=1_200,
        prompt_tokens=10**7,
        answer_tokens=10**6,
        most_prompt_tokens=10**8,
        most_answer_tokens=10**7,
        cost=12.5,
        most_cost=125.0,
    )
    for text in (result_table(made), estimate_table([estimate])):
        assert max(len(line) for line in text.splitlines() if "note" not in line) <= 80
    assert "1,100" in result_table(made)
