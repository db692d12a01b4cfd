from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from langraft.core.language import Role
from langraft.evaluate.benchmarks.subsets import Subset
from langraft.evaluate.benchmarks.task_means import mean_pairs, mean_suite
from langraft.evaluate.benchmarks.task_scores import (
    NotRun,
    TaskPair,
    TaskScore,
    guessing_error,
    near_chance,
    pair_scores,
    paired_stderr,
)
from langraft.evaluate.evaluation import Evaluation

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
    error = None if chance is None else guessing_error(chance, items)
    assert near_chance(value, chance, error) is is_near
    counted = score("el", [1.0] * items, value=value, chance=chance)
    assert counted.is_near_chance is is_near


def test_a_pair_says_whether_the_base_and_whether_both_are_at_chance() -> None:
    guesses, right = [0.0, 1.0] * 50, [1.0] * 80 + [0.0] * 20
    found = {
        name: pair_scores([score("el", before)], [score("el", after)], ROLES)[0]
        for name, before, after in (
            ("learned", guesses, right),
            ("forgot", right, guesses),
            ("silent", guesses, guesses),
        )
    }
    assert {n: (p.is_base_near_chance, p.is_near_chance) for n, p in found.items()} == {
        "learned": (True, False),
        "forgot": (False, False),
        "silent": (True, True),
    }
    assert (found["learned"].stderr_before, found["learned"].stderr_after) == (0.1, 0.1)
    assert found["learned"].chance_stderr == pytest.approx(0.05)


def test_a_pair_of_an_earlier_version_gets_its_error_of_guessing() -> None:
    pair = TaskPair(
        benchmark="xcopa",
        part="",
        language="el",
        role="new",
        metric="acc",
        before=0.59,
        after=0.6,
        difference=0.01,
        stderr=None,
        is_paired=False,
        items=100,
        chance=0.5,
        shots_before=0,
        shots_after=0,
    )
    assert pair.chance_stderr == pytest.approx(0.05)
    assert pair.is_near_chance


def test_a_suite_is_the_mean_of_what_the_base_has_signal_in() -> None:
    guesses, right, most = [0.0, 1.0] * 50, [1.0] * 80 + [0.0] * 20, [1.0] * 60 + [0.0] * 40
    bleu = replace(score("hu", right, metric="bleu", chance=None, part="to_en"), values=[])
    before = [
        score("en", right),
        score("en", right, benchmark="belebele"),
        score("el", guesses),
        score("hu", right),
        bleu,
        score("tr", guesses),
    ]
    after = [
        score("en", most),
        score("en", right, benchmark="belebele"),
        score("el", right),
        score("hu", [1.0] * 90 + [0.0] * 10),
        bleu,
        score("tr", guesses),
    ]
    pairs = pair_scores(before, after, ROLES)
    found = {mean.role: mean for mean in mean_suite(pairs)}
    kept = found["original"]
    assert (kept.scores, kept.no_signal, kept.no_chance) == (2, 0, 0)
    assert kept.retention == pytest.approx((0.6 / 0.8 + 1) / 2)
    gained = found["new"]  # not Greek, which the base guesses, although it was learned
    assert (gained.scores, gained.no_signal, gained.no_chance) == (1, 1, 1)
    assert gained.difference == pytest.approx(0.1)
    nothing = found["transfer"]
    assert (nothing.scores, nothing.no_signal) == (0, 1)
    assert (nothing.before, nothing.difference, nothing.retention) == (None, None, None)
    means = {(mean.role, mean.benchmark, mean.part): mean for mean in mean_pairs(pairs)}
    assert means["new", "xcopa", ""].base_near_chance == 1
    assert means["new", "xcopa", ""].near_chance == 0
    assert means["new", "xcopa", ""].stderr_before == pytest.approx(math.hypot(0.1, 0.1) / 2)


def test_a_suite_without_any_chance_has_no_mean() -> None:
    bleu = [score("el", [1.0], chance=None, metric="bleu")]
    assert mean_suite(pair_scores(bleu, bleu, ROLES)) == []


def test_a_difference_over_subsets_has_the_error_within_them() -> None:
    subsets = [Subset(name=n, items=2, available=2, value=0.5) for n in "ab"]
    before, after = [0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0]
    # differences 1, 1 | 0, 0: none within a subset, although a third of a point over all
    pairs = [score("el", values, subsets=subsets) for values in (before, after)]
    (pair,) = pair_scores(pairs[:1], pairs[1:], ROLES)
    assert pair.stderr == 0.0


def test_benchmarks_survive_the_file_and_earlier_files_are_read(tmp_path: Path) -> None:
    found = Evaluation(
        heldout={},
        probes={},
        samples={},
        tasks={
            "polylm": [
                score(
                    "el",
                    [0.0, 1.0],
                    subsets=[Subset(name="a", items=2, available=9, value=0.5)],
                )
            ]
        },
        not_run={"polylm": [NotRun(benchmark="mtg", language="el", reason="no file")]},
    )
    found.write(tmp_path)
    assert Evaluation.read(tmp_path) == found
    path = tmp_path / "evaluation.json"
    data = json.loads(path.read_text())
    del data["tasks"], data["not_run"]
    path.write_text(json.dumps(data))
    assert Evaluation.read(tmp_path) == replace(found, tasks={}, not_run={})
