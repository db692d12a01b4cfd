from __future__ import annotations

import re
from collections import Counter
from itertools import combinations

import pytest

from langraft.self_instruct.filters.language_check import make_language_check
from langraft.self_instruct.filters.rouge import rouge_l, tokenize
from langraft.self_instruct.filters.settings import TaskFilterSettings
from langraft.self_instruct.filters.task_filters import TaskFilters
from langraft.self_instruct.parse_tasks import ParsedTask
from langraft.self_instruct.records import parse_jsonl
from langraft.self_instruct.seeds import SEED_FILE, seed_tasks

SEEDS = seed_tasks()


def test_seeds_are_many_of_many_kinds() -> None:
    kinds = {record["id"]: record["kind"] for record in parse_jsonl(SEED_FILE.read_text("utf-8"))}
    assert list(kinds) == [seed.id for seed in SEEDS]
    assert [seed.id for seed in SEEDS] == [f"seed_{n:02d}" for n in range(1, len(SEEDS) + 1)]
    assert len(SEEDS) >= 64
    counted = Counter(kinds.values())
    assert len(counted) >= 20
    assert min(counted.values()) >= 2
    assert max(counted.values()) <= len(SEEDS) / 10


def test_about_half_of_the_seeds_have_an_input() -> None:
    assert 0.4 < sum(bool(seed.input) for seed in SEEDS) / len(SEEDS) < 0.6


def test_seeds_keep_to_what_the_prompt_asks_for() -> None:
    for seed in SEEDS:
        assert len(tokenize(seed.input, "en")) <= 100, seed.id
        assert 1 <= len(tokenize(seed.output, "en")) < 200, seed.id
        assert len(re.findall(r"[.?!](?:\s|$)", seed.instruction)) <= 3, seed.id
        assert len(tokenize(seed.instruction, "en")) <= 40, seed.id


def test_no_two_seeds_are_alike() -> None:
    words = [tokenize(seed.instruction, "en") for seed in SEEDS]
    assert max(rouge_l(a, b) for a, b in combinations(words, 2)) < 0.7


def test_every_seed_passes_the_filters() -> None:
    pytest.importorskip("lingua")
    settings = TaskFilterSettings()
    filters = TaskFilters(make_language_check("en", settings), [], settings)
    tasks = [ParsedTask(seed.instruction, seed.input, seed.output) for seed in SEEDS]
    assert [filters.apply(task) for task in tasks] == tasks
    assert filters.num_inputs_removed == 0


def test_no_seed_is_bound_to_english() -> None:
    text = " ".join(f"{seed.instruction} {seed.input} {seed.output}" for seed in SEEDS).lower()
    bound = r"english|rhymes?\b|pun\b|spell|letters? [a-z]\b|dollar|pound|euro\b|christmas|alphabet"
    assert re.findall(bound, text) == []
