from __future__ import annotations

import time
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from langraft.curriculum.ramp import RampSchedule
from thorough import examples

WEIGHTS = st.lists(st.sampled_from([0, 1e-6, 0.01, 0.3, 1, 2, 7, 100]), min_size=1, max_size=12)
SAMPLES = st.integers(1, 5000) | st.sampled_from([20_000, 3_000_000])


def named(weights: list[float]) -> dict[str, float]:
    found = {f"l{number}": float(weight) for number, weight in enumerate(weights) if weight}
    return found or {"l0": 1.0}


def due(schedule: RampSchedule, num_samples: int, sample: int) -> dict[str, float]:
    """Return the turns that straight lines give up to a sample: the area under them."""
    before, after = schedule.shares(0), schedule.shares(num_samples)
    return {
        code: before[code] * sample + (after[code] - before[code]) * sample**2 / 2 / num_samples
        for code in schedule.streams
    }


def repeats(num_samples: int) -> int:
    """Return how often a cycle stands in a plateau: once, up to a million samples."""
    return -(-num_samples // 2**20)


@settings(max_examples=examples(60))
@given(before=WEIGHTS, after=WEIGHTS, num_samples=SAMPLES, data=st.data())
@example(before=[1] * 12, after=[1] * 12, num_samples=1000, data=None)
@example(before=[1e-6, 1], after=[0, 1], num_samples=5000, data=None)
def test_counts_keep_to_the_lines_within_two_turns_everywhere(
    before: list[float], after: list[float], num_samples: int, data: st.DataObject | None
) -> None:
    schedule = RampSchedule(named(before), named(after), num_samples)
    places = [num_samples * tenth // 10 for tenth in range(11)]
    if data is not None:
        places += data.draw(st.lists(st.integers(0, num_samples), max_size=20))
    for place in places:
        counts = schedule.counts(place)
        assert sum(counts.values()) == place
        wanted = due(schedule, num_samples, place)
        farthest = max(abs(counts[code] - wanted[code]) for code in counts)
        assert farthest < 2 * repeats(num_samples)


@settings(max_examples=examples(30))
@given(before=WEIGHTS, after=WEIGHTS, num_samples=st.integers(1, 3000))
def test_turns_count_up_by_one_and_agree_with_counts(
    before: list[float], after: list[float], num_samples: int
) -> None:
    schedule = RampSchedule(named(before), named(after), num_samples)
    seen = Counter[str]()
    for sample in range(num_samples + 10):
        if sample % 97 == 0:
            assert schedule.counts(sample) == {code: seen[code] for code in schedule.streams}
        language, rank = schedule.stream_at(sample)
        assert rank == seen[language]
        seen[language] += 1


@settings(max_examples=examples(40))
@given(num_samples=st.integers(2**20, 10**13), data=st.data())
def test_ranks_agree_with_counts_far_into_the_longest_stages(
    num_samples: int, data: st.DataObject
) -> None:
    schedule = RampSchedule({"en": 3, "el": 1}, {"en": 1, "el": 2, "hu": 1e-4}, num_samples)
    sample = data.draw(st.integers(0, num_samples))
    language, rank = schedule.stream_at(sample)
    assert rank == schedule.counts(sample)[language]
    assert schedule.counts(sample + 1)[language] == rank + 1


@pytest.mark.parametrize("num_samples", [20_000, 1_000_000, 10_000_000])
def test_a_ramp_from_30_to_60_percent_is_met_at_every_tenth(num_samples: int) -> None:
    new = {"el": 15, "hu": 10, "tr": 5}
    schedule = RampSchedule(
        {"en": 70} | new, {"en": 40} | {code: 2 * w for code, w in new.items()}, num_samples
    )
    edges = [num_samples * tenth // 10 for tenth in range(11)]
    for start, stop in pairwise(edges):
        counts = [schedule.counts(place)["en"] for place in (start, stop)]
        measured = 1 - (counts[1] - counts[0]) / (stop - start)
        wanted = 0.3 + 0.3 * (start + stop) / 2 / num_samples
        assert abs(measured - wanted) < 0.001


def test_of_few_rows_a_tenth_is_met_to_two_rows() -> None:
    schedule = RampSchedule({"en": 70, "el": 30}, {"en": 40, "el": 60}, 3000)
    for start in range(0, 3000, 300):
        got = schedule.counts(start + 300)["el"] - schedule.counts(start)["el"]
        assert abs(got - 300 * (0.3 + 0.3 * (start + 150) / 3000)) <= 2


def test_turns_of_a_language_are_spread_and_not_bunched() -> None:
    schedule = RampSchedule({"en": 9, "el": 1}, {"en": 1, "el": 1}, 20_000)
    rows = [n for n in range(2000) if schedule.stream_at(n)[0] == "el"]
    assert max(b - a for a, b in pairwise(rows)) <= 20


def test_a_tiny_share_is_kept_to_where_no_period_could_hold_it() -> None:
    shares = {"en": 1.0, "sw": 1e-6}
    schedule = RampSchedule(shares, shares, 10_000_000)
    assert abs(schedule.counts(10_000_000)["sw"] - 10) <= 10  # one repetition
    small = RampSchedule(shares, shares, 1_000_000)
    assert abs(small.counts(1_000_000)["sw"] - 1) <= 1


@pytest.mark.parametrize("num_samples", [20_000, 10**7, 10**13])
def test_the_longest_ramp_of_a_hundred_languages_is_laid_out_at_once(num_samples: int) -> None:
    before = {f"l{n}": 1.0 + n for n in range(100)}
    after = {f"l{n}": 100.0 - n for n in range(100)}
    started = time.process_time()
    schedule = RampSchedule(before, after, num_samples)
    schedule.stream_at(num_samples - 1)
    assert time.process_time() - started < 0.5
