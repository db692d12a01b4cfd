from __future__ import annotations

import math
import time
from collections import Counter
from fractions import Fraction

from hypothesis import example, given, settings
from hypothesis import strategies as st

from langraft.curriculum.schedule import MAX_PERIOD, MixtureSchedule
from thorough import examples

WHOLE = st.integers(1, 40) | st.sampled_from([1, 2, 500, 1500])
DECIMAL = st.sampled_from([0.01, 0.1, 0.25, 0.5, 1.0, 1.3, 2.0, 5.0])
WEIGHTS = st.lists(WHOLE, min_size=1, max_size=12) | st.lists(DECIMAL, min_size=1, max_size=12)


def schedule_of(weights: list[float]) -> MixtureSchedule:
    return MixtureSchedule({f"l{number}": weight for number, weight in enumerate(weights)})


def largest_distance(schedule: MixtureSchedule, shares: list[Fraction], num_samples: int) -> float:
    """Return the farthest that any language is from its share after any number of samples.

    A language is farthest ahead right after its turn and farthest behind right before it.
    """
    seen = Counter[str]()
    wanted = dict(zip(schedule.streams, shares, strict=True))
    farthest = Fraction(0)
    for sample in range(num_samples):
        language, rank = schedule.stream_at(sample)
        assert rank == seen[language]
        farthest = max(farthest, sample * wanted[language] - rank)
        farthest = max(farthest, rank + 1 - (sample + 1) * wanted[language])
        seen[language] += 1
    at_the_end = (num_samples * share - seen[code] for code, share in wanted.items())
    return float(max(farthest, *at_the_end))


@settings(max_examples=examples(40))
@given(weights=WEIGHTS)
@example(weights=[1, 5000])
@example(weights=[1] * 11 + [3000])
@example(weights=[1, 10, 100, 1000])
def test_no_language_is_ever_a_whole_turn_ahead_or_behind(weights: list[float]) -> None:
    schedule = schedule_of(weights)
    exact = [Fraction(str(weight)) for weight in weights]
    shares = [weight / sum(exact) for weight in exact]
    num_samples = min(schedule.period + 3, 4000)
    assert largest_distance(schedule, shares, num_samples) < 1


@settings(max_examples=examples(30))
@given(weights=WEIGHTS, num_samples=st.integers(0, 3000))
def test_counts_are_those_of_counting_turns(weights: list[float], num_samples: int) -> None:
    schedule = schedule_of(weights)
    counted = Counter(schedule.stream_at(sample)[0] for sample in range(num_samples))
    assert schedule.counts(num_samples) == {code: counted[code] for code in schedule.streams}


@settings(max_examples=examples(30))
@given(weights=WEIGHTS, cycles=st.integers(0, 10**6))
def test_after_whole_periods_the_shares_are_exact(weights: list[float], cycles: int) -> None:
    schedule = schedule_of(weights)
    counts = schedule.counts(cycles * schedule.period)
    exact = [Fraction(str(weight)) for weight in weights]
    for number, weight in zip(counts.values(), exact, strict=True):
        assert number * sum(exact) == cycles * schedule.period * weight


@settings(max_examples=examples(30))
@given(weights=WEIGHTS, sample=st.integers(0, 10**14))
def test_the_rank_of_any_sample_is_the_count_before_it(weights: list[float], sample: int) -> None:
    schedule = schedule_of(weights)
    language, rank = schedule.stream_at(sample)
    assert rank == schedule.counts(sample)[language]
    assert schedule.counts(sample + 1)[language] == rank + 1


def test_only_ratios_of_weights_matter() -> None:
    small, large = schedule_of([1, 2, 0.5]), schedule_of([200, 400, 100])
    assert [small.stream_at(n) for n in range(50)] == [large.stream_at(n) for n in range(50)]
    assert small.period == large.period == 7


def test_one_language_has_every_turn() -> None:
    schedule = MixtureSchedule({"el": 0.3})
    assert [schedule.stream_at(sample) for sample in (0, 1, 10**12)] == [
        ("el", 0),
        ("el", 1),
        ("el", 10**12),
    ]


def test_languages_of_equal_weight_take_turns() -> None:
    schedule = schedule_of([1, 1, 1, 1])
    for start in range(0, 40, 4):
        assert len({schedule.stream_at(sample)[0] for sample in range(start, start + 4)}) == 4


def test_shares_without_a_small_common_denominator_are_rounded() -> None:
    weights = [math.pi, math.e, math.sqrt(2), 1e-7]
    schedule = schedule_of(weights)
    assert abs(schedule.period - MAX_PERIOD) <= len(weights)
    counts = schedule.counts(schedule.period)
    for number, weight in zip(counts.values(), weights, strict=True):
        assert abs(number - schedule.period * weight / sum(weights)) <= 1.5
    rounded = [Fraction(number, schedule.period) for number in counts.values()]
    assert largest_distance(schedule, rounded, 3000) < 1


def seconds_of_lookups(schedule: MixtureSchedule, start: int) -> float:
    best = math.inf
    for _ in range(3):
        before = time.process_time()
        for sample in range(start, start + 2000):
            schedule.stream_at(sample)
        best = min(best, time.process_time() - before)
    return best


def test_a_lookup_at_a_trillion_costs_what_it_costs_at_the_start() -> None:
    schedule = schedule_of([1, 2, 0.5, 1.3])
    near, far = seconds_of_lookups(schedule, 0), seconds_of_lookups(schedule, 10**12)
    assert far < 10 * near + 0.05


def test_a_lookup_costs_the_same_for_many_languages() -> None:
    few, many = schedule_of([1, 2]), schedule_of([1.0 + n % 3 for n in range(100)])
    assert seconds_of_lookups(many, 10**9) < 10 * seconds_of_lookups(few, 10**9) + 0.05
