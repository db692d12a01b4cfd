from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from langraft.core.language import Role
from langraft.evaluate.evaluation import Evaluation
from langraft.evaluate.task_score import (
    NotRun,
    TaskScore,
    mean_pairs,
    near_chance,
    pair_scores,
    paired_stderr,
)

ROLES: dict[str, Role] = {"en": "original", "el": "new", "hu": "new", "tr": "transfer"}


def score(language: str, values: list[float], **changes: object) -> TaskScore:
    found = TaskScore(
        benchmark="xcopa",
        part="",
        language=language,
        metric="acc",
        value=sum(values) / len(values),
        stderr=0.1,
        items=len(values),
        chance=0.5,
        is_high_good=True,
        shots=0,
        version="lm-eval 0.4.13, task 1.0",
        config="0",
        data="hub",
        dropped=0,
        truncated=0,
        values=values,
        others={},
    )
    return replace(found, **changes)  # pyright: ignore[reportArgumentType]


def test_the_paired_error_is_that_of_the_differences() -> None:
    # differences 1, 0, 0, 1, -1: mean 0.2, squares around it 0.64 + 0.04 + 0.04 + 0.64 + 1.44
    before, after = [0.0, 1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0, 0.0]
    assert paired_stderr(before, after) == pytest.approx(math.sqrt(2.8 / 4 / 5))
    (pair,) = pair_scores([score("el", before)], [score("el", after)], ROLES)
    assert pair.is_paired
    assert pair.difference == pytest.approx(0.2)
    assert pair.stderr == pytest.approx(math.sqrt(2.8 / 4 / 5))
    assert pair.role == "new"


def test_equal_answers_have_no_error_however_uncertain_the_scores() -> None:
    values = [0.0, 1.0, 1.0]
    (pair,) = pair_scores([score("el", values)], [score("el", values)], ROLES)
    assert (pair.difference, pair.stderr) == (0.0, 0.0)


def test_metrics_of_the_whole_have_the_error_of_two_samples() -> None:
    before = replace(score("el", [1.0]), value=10.0, stderr=0.3, values=[])
    after = replace(before, value=12.0, stderr=0.4)
    (pair,) = pair_scores([before], [after], ROLES)
    assert not pair.is_paired
    assert (pair.difference, pair.stderr) == (2.0, pytest.approx(0.5))
    (pair,) = pair_scores([replace(before, stderr=None)], [after], ROLES)
    assert pair.stderr is None


def test_a_pair_has_the_examples_of_both() -> None:
    items = [1.0, 0.0]
    (pair,) = pair_scores([score("el", items, shots=25)], [score("el", items)], ROLES)
    assert (pair.shots_before, pair.shots_after) == (25, 0)


def test_means_are_by_role_with_the_errors_joined() -> None:
    before = [score(code, [0.0, 0.0, 1.0, 1.0]) for code in ROLES]
    after = [
        score("en", [0.0, 0.0, 1.0, 0.0]),
        score("el", [1.0, 1.0, 1.0, 1.0]),
        score("hu", [0.0, 0.0, 1.0, 1.0]),
        score("tr", [0.0, 0.0, 1.0, 1.0]),
    ]
    pairs = pair_scores(before, after, ROLES)
    means = {mean.role: mean for mean in mean_pairs(pairs)}
    assert {role: mean.languages for role, mean in means.items()} == {
        "original": 1,
        "new": 2,
        "transfer": 1,
    }
    new = means["new"]
    assert (new.before, new.after, new.difference) == (0.5, 0.75, 0.25)
    errors = [pair.stderr for pair in pairs if pair.role == "new" and pair.stderr is not None]
    assert new.stderr == pytest.approx(math.sqrt(errors[0] ** 2 + errors[1] ** 2) / 2)
    assert means["original"].difference == -0.25
    assert means["transfer"].chance == 0.5


def test_directions_and_benchmarks_do_not_mix() -> None:
    both = [score("el", [1.0], part=part) for part in ("from_en", "to_en")]
    assert len(mean_pairs(pair_scores(both, both, ROLES))) == 2
    assert pair_scores(both[:1], both[1:], ROLES) == []


@pytest.mark.parametrize(
    ("value", "chance", "items", "is_near"),
    [
        (0.55, 0.5, 100, True),  # guessing is within 0.5 +- 0.1 at two standard errors
        (0.61, 0.5, 100, False),
        (0.2, 0.5, 100, True),
        (1.0, 0.5, 3, True),
        (0.55, 0.5, 10_000, False),
        (0.0, None, 10, False),
    ],
)
def test_a_score_near_chance_means_nothing(
    value: float, chance: float | None, items: int, is_near: bool
) -> None:
    assert near_chance(value, chance, items) is is_near


def test_benchmarks_survive_the_file_and_earlier_files_are_read(tmp_path: Path) -> None:
    found = Evaluation(
        heldout={},
        probes={},
        samples={},
        tasks={"polylm": [score("el", [0.0, 1.0])]},
        not_run={"polylm": [NotRun(benchmark="mtg", language="el", reason="no file")]},
    )
    found.write(tmp_path)
    assert Evaluation.read(tmp_path) == found
    path = tmp_path / "evaluation.json"
    data = json.loads(path.read_text())
    del data["tasks"], data["not_run"]
    path.write_text(json.dumps(data))
    assert Evaluation.read(tmp_path) == replace(found, tasks={}, not_run={})
