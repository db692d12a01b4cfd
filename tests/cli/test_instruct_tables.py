"""What is said at the end of ``langraft instruct generate``."""

from __future__ import annotations

from typing import Any

from langraft.cli.tables.instruct_tables import result_table


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
