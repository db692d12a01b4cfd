from __future__ import annotations

import time
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.core.errors import CorpusError
from langraft.curriculum.index import MixtureIndex, RowLocation
from langraft.curriculum.schedule import MixtureSchedule
from thorough import examples

ROWS = {"el": 17, "hu": 29, "sw": 5}


def index_of(
    weights: dict[str, float] | None = None,
    rows: dict[str, int] = ROWS,
    seed: int = 0,
    stage: str = "extend",
) -> MixtureIndex:
    schedule = MixtureSchedule(weights or {"el": 2, "hu": 1, "sw": 1})
    return MixtureIndex(schedule, rows, seed, stage)


def rows_by_epoch(index: MixtureIndex, num_samples: int) -> dict[tuple[str, int], list[int]]:
    found = defaultdict[tuple[str, int], list[int]](list)
    for sample in range(num_samples):
        place = index.locate(sample)
        found[place.stream, place.epoch].append(place.row)
    return found


@settings(max_examples=examples(25))
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    weights=st.lists(st.integers(1, 5), min_size=4, max_size=4),
)
def test_every_row_is_read_once_before_any_is_read_again(
    sizes: list[int], weights: list[int]
) -> None:
    rows = {f"l{n}": size for n, size in enumerate(sizes)}
    index = index_of({code: weights[n] for n, code in enumerate(rows)}, rows)
    found = rows_by_epoch(index, 400)
    for code, size in rows.items():
        epochs = [found[code, epoch] for epoch in range(400) if (code, epoch) in found]
        assert all(sorted(epoch) == list(range(size)) for epoch in epochs[:-1])
        last = epochs[-1]
        assert len(set(last)) == len(last) <= size
        assert set(last) <= set(range(size))


def test_each_epoch_shuffles_anew() -> None:
    found = rows_by_epoch(index_of(), 17 * 2 * 4)
    orders = [tuple(found["el", epoch]) for epoch in range(4)]
    assert len(set(orders)) == 4
    assert tuple(range(17)) not in orders


def test_languages_stages_and_seeds_shuffle_independently() -> None:
    same_size = {"el": 29, "hu": 29}
    weights = {"el": 1.0, "hu": 1.0}
    orders = [
        tuple(rows_by_epoch(index_of(weights, same_size, seed, stage), 58)[code, 0])
        for seed in (0, 1)
        for stage in ("extend", "review")
        for code in ("el", "hu")
    ]
    assert len(set(orders)) == 8


def test_an_index_is_a_function_of_its_arguments_alone() -> None:
    first, second = index_of(), index_of()
    assert [second.locate(n) for n in reversed(range(99))] == [
        first.locate(n) for n in reversed(range(99))
    ]


def test_the_mixture_has_its_shares() -> None:
    index = index_of()
    counted = Counter(index.locate(sample).stream for sample in range(400))
    assert counted == {"el": 200, "hu": 100, "sw": 100}


def test_going_on_at_a_trillion_takes_no_time() -> None:
    before = time.process_time()
    index = index_of(rows={"el": 10**9, "hu": 10**7, "sw": 3})
    places = [index.locate(10**12 + number) for number in range(100)]
    assert time.process_time() - before < 1
    assert len(set(places)) == 100
    assert {place.stream for place in places} == set(ROWS)
    assert all(isinstance(place, RowLocation) and place.epoch > 0 for place in places)


@pytest.mark.parametrize("rows", [{"el": 0, "hu": 3}, {"hu": 3}])
def test_a_language_with_fewer_tokens_than_one_row_is_refused(rows: dict[str, int]) -> None:
    with pytest.raises(CorpusError) as caught:
        index_of({"hu": 1, "el": 1}, rows, stage="review")
    message = str(caught.value)
    assert "Greek (el) has fewer tokens than one packed row" in message
    assert "'review'" in message
    assert "training.sequence_length" in message
    assert "take el out of the mixture" in message


def test_a_language_outside_the_mixture_may_be_short() -> None:
    assert index_of({"hu": 1}, {"hu": 3, "el": 0}).locate(0).stream == "hu"


def test_epochs_say_how_often_each_text_is_read() -> None:
    epochs = index_of().epochs(400)
    assert epochs == pytest.approx({"el": 200 / 17, "hu": 100 / 29, "sw": 20})
    assert index_of().epochs(0) == {"el": 0, "hu": 0, "sw": 0}
