from __future__ import annotations

from dataclasses import replace

from langraft.self_instruct.records import Instruction
from langraft.self_instruct.rounds import plan_round
from langraft.self_instruct.seeds import seed_tasks
from langraft.self_instruct.settings import SelfInstructSettings, parse_settings

SEEDS = seed_tasks()
POOL = [replace(SEEDS[n], id=f"el_01_{n:04d}_001", instruction=f"Task {n}") for n in range(40)]


def make_settings(**changes: object) -> SelfInstructSettings:
    teacher = {"name": "endpoint", "address": "http://localhost/v1", "model": "m"}
    return parse_settings({"languages": ["el"], "teacher": teacher, **changes})


def shown(number: int, pool: list[Instruction], **changes: object) -> list[tuple[str, ...]]:
    return [
        p.demonstration_ids for p in plan_round(make_settings(**changes), "el", number, SEEDS, pool)
    ]


def test_defaults_are_those_of_multialpaca() -> None:
    assert len(shown(1, [])) == 10
    assert len(shown(2, POOL)) == 100
    assert all(len(set(ids)) == 3 for ids in shown(2, POOL))
    assert make_settings().rounds == 10
    assert (
        "Write 17 more, numbered 4 to 20"
        in plan_round(make_settings(), "el", 1, SEEDS, [])[0].question.text
    )


def test_the_first_round_shows_seeds_and_later_ones_two_seeds_and_one_of_the_pool() -> None:
    assert all(id.startswith("seed_") for ids in shown(1, POOL) for id in ids)
    counts = {sum(id.startswith("seed_") for id in ids) for ids in shown(2, POOL)}
    assert counts == {2}


def test_a_pool_that_stayed_empty_is_stood_in_for_by_seeds() -> None:
    assert all(id.startswith("seed_") for ids in shown(2, []) for id in ids)


def test_a_prompt_depends_on_seed_language_round_and_number_alone() -> None:
    assert shown(2, POOL) == shown(2, POOL)
    assert shown(2, POOL, prompts=7) == shown(2, POOL)[:7]
    assert shown(2, POOL) != shown(3, POOL)
    assert shown(2, POOL) != shown(2, POOL, seed=1)
    greek, hungarian = (
        [p.demonstration_ids for p in plan_round(make_settings(), code, 2, SEEDS, POOL)]
        for code in ("el", "hu")
    )
    assert greek != hungarian


def test_every_prompt_has_its_own_sampling_seed() -> None:
    seeds = [p.question.seed for p in plan_round(make_settings(), "el", 2, SEEDS, POOL)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**63 for seed in seeds)
