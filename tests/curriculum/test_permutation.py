from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.curriculum.permutation import permute
from thorough import examples


@settings(max_examples=examples(25))
@given(size=st.integers(1, 700), key=st.text("abc/0123", max_size=6))
def test_every_place_is_taken_once_whatever_the_size(size: int, key: str) -> None:
    assert sorted(permute(position, size, key) for position in range(size)) == list(range(size))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 256, 257])
def test_sizes_around_powers_of_two_are_shuffled_whole(size: int) -> None:
    assert {permute(position, size, "key") for position in range(size)} == set(range(size))


def shuffle(size: int, key: str) -> list[int]:
    return [permute(position, size, key) for position in range(size)]


def test_keys_name_different_shuffles() -> None:
    assert len({tuple(shuffle(30, f"0/extend/el/{epoch}")) for epoch in range(50)}) == 50


def test_a_key_names_one_shuffle() -> None:
    assert shuffle(100, "key") == shuffle(100, "key")
    assert shuffle(100, "key") != list(range(100))


def test_neighbours_are_scattered() -> None:
    places = shuffle(1000, "key")
    near = sum(abs(a - b) < 10 for a, b in pairwise(places))
    assert near < 60  # about 20 of 999 by chance
    assert abs(sum(places[:100]) / 100 - 500) < 150


def test_every_place_is_as_likely_as_any_other() -> None:
    hits = [0] * 5
    for epoch in range(1000):
        hits[permute(0, 5, f"{epoch}")] += 1
    assert all(140 < number < 260 for number in hits)


@settings(max_examples=examples(50))
@given(data=st.data(), size=st.integers(1, 10**15))
def test_the_largest_sizes_stay_inside(data: st.DataObject, size: int) -> None:
    first = data.draw(st.integers(0, size - 1))
    second = data.draw(st.integers(0, size - 1))
    places = [permute(first, size, "key"), permute(second, size, "key")]
    assert all(0 <= place < size for place in places)
    assert (places[0] == places[1]) == (first == second)


@pytest.mark.parametrize(("position", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_a_position_outside_is_refused(position: int, size: int) -> None:
    with pytest.raises(IndexError, match=f"position {position} is outside"):
        permute(position, size, "key")
