from __future__ import annotations

import re
from pathlib import Path

from langraft.self_instruct.filters.settings import TaskFilterSettings
from langraft.self_instruct.records import parse_jsonl
from langraft.self_instruct.seeds import SEED_FILE, seed_tasks

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "self_instruct.md").read_text("utf-8")
SOURCE = Path(__file__).parents[2] / "src" / "langraft" / "self_instruct"


def test_the_guide_names_every_reason() -> None:
    code = "".join(
        (SOURCE / f"{name}.py").read_text("utf-8")
        for name in ("parse_tasks", "filters/task_filters")
    )
    reasons = set(re.findall(r'(?:shorten|_drop)\("(\w+)"', code))
    assert len(reasons) == 6
    reasons |= {f"wrong_language_{part}" for part in ("instruction", "input", "output")}
    assert [reason for reason in reasons if f"`{reason}`" not in PAGE] == []


def test_the_guide_states_the_defaults() -> None:
    settings = TaskFilterSettings()
    limits = settings.overlap_with_input
    assert limits["ko"] == limits["vi"]
    for stated in (
        f"F of {settings.overlap_with_pool} or more",
        f"above {limits['default']}; Korean and Vietnamese {limits['ko']}, Arabic {limits['ar']}",
        f"{settings.min_letters} letters (`min_letters`)",
    ):
        assert stated in PAGE


def test_the_guide_counts_the_seeds() -> None:
    with_input = sum(bool(seed.input) for seed in seed_tasks())
    num_kinds = len({r["kind"] for r in parse_jsonl(SEED_FILE.read_text("utf-8"))})
    assert f"{len(seed_tasks())} seed tasks in English, {with_input} of them with an input" in PAGE
    assert f"of {num_kinds} kinds" in PAGE
