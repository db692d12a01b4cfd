from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.core.errors import CorpusError
from langraft.core.settings.stage import Stage
from langraft.curriculum.resolve import resolve, stream_weights
from langraft.curriculum.schedule import MixtureSchedule, Schedule
from thorough import examples

TOKENS = {"en": 1_000_000, "el": 10_000, "hu": 10_000, "en/wiki": 3000, "el/wiki": 1000}
MEMBERS = {code: (code,) for code in TOKENS} | {"*/wiki": ("en/wiki", "el/wiki")}
LENGTH = 10


def schedule_of(num_samples: int = 1000, **keys: Any) -> Schedule:
    stage = Stage.model_validate({"name": "extend", "tokens": 1} | keys)
    return resolve(stage, MEMBERS, TOKENS, num_samples=num_samples, sequence_length=LENGTH)


def turns(schedule: Schedule, num_samples: int) -> list[tuple[str, int]]:
    return [schedule.stream_at(sample) for sample in range(num_samples)]


# From stages to schedules


def test_a_constant_stage_has_the_order_it_always_had() -> None:
    schedule = schedule_of(mixture={"en": 28, "el": 24, "hu": 24})
    assert turns(schedule, 200) == turns(MixtureSchedule({"en": 28, "el": 24, "hu": 24}), 200)
    order = "".join(code[1] for code, _ in turns(schedule_of(mixture={"en": 3, "el": 2}), 10))
    assert order == "nlnlnnlnln"


def test_a_staged_stage_switches_at_its_point_and_is_constant_before() -> None:
    schedule = schedule_of(
        mixture={"el": 1, "hu": 1}, curriculum="staged", points=[{"at": 0.8, "mixture": {"en": 1}}]
    )
    assert turns(schedule, 800) == turns(MixtureSchedule({"el": 1, "hu": 1}), 800)
    assert turns(schedule, 1000)[800:] == [("en", n) for n in range(200)]
    assert schedule.shares(799) == {"el": 0.5, "hu": 0.5, "en": 0}
    assert schedule.shares(800) == {"el": 0, "hu": 0, "en": 1}
    assert schedule.counts(1000) == {"el": 400, "hu": 400, "en": 200}


def test_running_numbers_go_on_when_a_language_comes_back() -> None:
    schedule = schedule_of(
        mixture={"el": 1},
        curriculum="staged",
        points=[{"at": 0.1, "mixture": {"en": 1}}, {"at": 0.2, "mixture": {"el": 1}}],
    )
    assert schedule.stream_at(99) == ("el", 99)
    assert schedule.stream_at(200) == ("el", 100)


def test_a_linear_stage_reaches_its_points_and_holds_the_last() -> None:
    schedule = schedule_of(
        10_000,
        mixture={"en": 70, "el": 30},
        curriculum="linear",
        points=[{"at": 0.5, "mixture": {"en": 40, "el": 60}}],
    )
    assert schedule.shares(0)["el"] == pytest.approx(0.3)
    assert schedule.shares(2500)["el"] == pytest.approx(0.45)
    assert schedule.shares(5000)["el"] == schedule.shares(10_000)["el"] == pytest.approx(0.6)
    assert schedule.counts(10_000)["el"] == pytest.approx(5000 * 0.45 + 5000 * 0.6, abs=2)


@pytest.mark.parametrize("curriculum", ["staged", "linear"])
def test_a_later_point_changes_no_earlier_token(curriculum: str) -> None:
    points = [
        {"at": 0.3, "mixture": {"en": 1, "el": 1}},
        {"at": 0.6, "mixture": {"el": 9, "en": 1}},
    ]
    same = {"mixture": {"en": 3, "hu": 1}, "curriculum": curriculum, "max_epochs": 0.3}
    first = schedule_of(**same, points=points)
    other = schedule_of(**same, points=[points[0], {"at": 0.7, "mixture": {"hu": 1, "en": 9}}])
    until = 600 if curriculum == "staged" else 300  # a line begins where the one before it ends
    assert turns(first, until) == turns(other, until)
    assert turns(first, 1000) != turns(other, 1000)


def test_a_point_too_close_to_hold_a_row_is_left_out() -> None:
    points = [{"at": 0.5, "mixture": {"el": 1}}, {"at": 0.501, "mixture": {"hu": 1}}]
    schedule = schedule_of(100, mixture={"en": 1}, curriculum="staged", points=points)
    assert schedule.counts(100) == {"en": 50, "hu": 50}


# Weights


def test_a_source_in_all_languages_is_read_evenly() -> None:
    assert stream_weights({"*/wiki": 4, "hu": 6}, MEMBERS, TOKENS, None) == {
        "en/wiki": 3,
        "el/wiki": 1,
        "hu": 6,
    }


def test_a_stream_named_twice_has_both_weights() -> None:
    assert stream_weights({"*/wiki": 4, "el/wiki": 1}, MEMBERS, TOKENS, None)["el/wiki"] == 2


@pytest.mark.parametrize(("temperature", "ratio"), [(1, 100), (2, 10), (1e9, 1)])
def test_temperature_is_the_root_of_the_ratio_of_text(temperature: float, ratio: float) -> None:
    weights = stream_weights({"en": 1, "el": 1, "hu": 2}, MEMBERS, TOKENS, temperature)
    assert weights["en"] / weights["el"] == pytest.approx(ratio)
    assert weights["hu"] / weights["el"] == pytest.approx(2)


def test_the_lowest_temperature_reads_the_largest_text_alone() -> None:
    schedule = schedule_of(mixture={"en": 1, "el": 1}, temperature=1e-3)
    assert schedule.counts(1000) == {"en": 1000, "el": 0}


# The cap


def test_an_idle_cap_changes_no_token() -> None:
    mixture = {"en": 28, "el": 24, "hu": 24}
    capped = schedule_of(mixture=mixture, max_epochs=4)
    assert turns(capped, 1000) == turns(schedule_of(mixture=mixture), 1000)


def test_a_capped_stream_gives_the_rest_to_the_others_in_proportion() -> None:
    # 10,000 tokens are 1,000 rows: half an epoch of el and of hu is 500 rows of the 5,000.
    schedule = schedule_of(5000, mixture={"en": 2, "el": 6, "hu": 1}, max_epochs=0.5)
    assert schedule.shares(0) == pytest.approx({"en": 0.8, "el": 0.1, "hu": 0.1})
    counts = schedule.counts(5000)
    assert counts["el"] == pytest.approx(500, abs=1)
    assert counts["hu"] == pytest.approx(500, abs=1)


def test_what_an_earlier_stretch_reads_is_gone_for_a_later_one() -> None:
    points = [{"at": 0.8, "mixture": {"el": 1, "en": 1}}]
    schedule = schedule_of(
        1000, mixture={"el": 1}, curriculum="staged", points=points, max_epochs=0.85
    )
    assert schedule.counts(800)["el"] == 800
    assert schedule.shares(900)["el"] == pytest.approx(0.25)
    assert schedule.counts(1000)["el"] == pytest.approx(850, abs=1)


def test_in_a_ramp_a_capped_stream_keeps_the_form_of_its_line() -> None:
    schedule = schedule_of(
        4000,
        mixture={"el": 1},
        curriculum="linear",
        points=[{"at": 1, "mixture": {"en": 1}}],
        max_epochs=1,
    )
    assert schedule.shares(0) == pytest.approx({"el": 0.5, "en": 0.5})
    assert schedule.shares(4000) == pytest.approx({"el": 0, "en": 1})
    assert schedule.counts(4000)["el"] == pytest.approx(1000, abs=1)


@settings(max_examples=examples(60))
@given(
    weights=st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=4),
    max_epochs=st.floats(0.05, 3),
    curriculum=st.sampled_from(["staged", "linear"]),
)
def test_no_stream_is_read_more_often_than_the_cap(
    weights: list[list[int]], max_epochs: float, curriculum: str
) -> None:
    # English, of which there is plenty, has a little share everywhere and takes what is left.
    streams = ("el", "hu", "el/wiki")
    mixtures = [
        {"en": 0.1} | {code: weight for code, weight in zip(streams, row, strict=True) if weight}
        for row in weights
    ]
    points = [
        {"at": number / len(mixtures), "mixture": mixture}
        for number, mixture in enumerate(mixtures[1:], start=1)
    ]
    keys = {"curriculum": curriculum, "points": points} if points else {}
    schedule = schedule_of(1000, mixture=mixtures[0], **keys, max_epochs=max_epochs)
    counts = schedule.counts(1000)
    assert sum(counts.values()) == 1000
    for stream in counts.keys() - {"en"}:
        assert counts[stream] <= max_epochs * (TOKENS[stream] // LENGTH) + 1 + len(mixtures)
    for sample in range(0, 1001, 125):
        shares = schedule.shares(sample)
        assert sum(shares.values()) == pytest.approx(1)
        assert min(shares.values()) >= 0


def test_too_little_text_is_refused_with_the_numbers() -> None:
    with pytest.raises(CorpusError) as caught:
        schedule_of(5000, mixture={"el": 1, "hu": 3}, max_epochs=2)
    message = str(caught.value)
    assert "'extend' wants 50,000 tokens" in message
    assert "max_epochs 2" in message
    assert "only 40,000 left" in message
    assert "Greek (el) 20,000, Hungarian (hu) 20,000" in message
    assert "Give more text, raise max_epochs, or lower the stage's tokens" in message
