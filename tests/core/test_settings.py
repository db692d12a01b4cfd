from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.core.settings.settings import parse_count
from thorough import examples

MULTIPLIERS = {"": 1, "k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("3B", 3_000_000_000),
        ("1.5M", 1_500_000),
        ("200k", 200_000),
        ("1.5T", 1_500_000_000_000),
        ("50000", 50_000),
        ("50_000", 50_000),
        ("1e6", 1_000_000),
        ("1_000_000T", 10**18),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_a_count_is_read_as_people_write_it(written: str, count: int) -> None:
    assert parse_count(written) == count


@settings(max_examples=examples(100))
@given(number=st.integers(0, 10**6), suffix=st.sampled_from(sorted(MULTIPLIERS)))
def test_a_whole_number_times_its_letter_is_exact(number: int, suffix: str) -> None:
    assert parse_count(f"{number}{suffix}") == number * MULTIPLIERS[suffix]


@settings(max_examples=examples(100))
@given(thousandths=st.integers(0, 10**7), suffix=st.sampled_from(["k", "M", "B", "T"]))
def test_up_to_three_decimals_are_exact(thousandths: int, suffix: str) -> None:
    number = Decimal(thousandths) / 1000
    assert parse_count(f"{number}{suffix}") == int(number * MULTIPLIERS[suffix])


def count_or_refusal(written: str) -> object:
    try:
        return parse_count(written)
    except ValueError as error:
        return str(error)


@settings(max_examples=examples(200))
@given(written=st.text("0123456789.eE+-_ kMBTmb²πin", max_size=8))
def test_any_text_is_a_count_or_is_refused_with_examples(written: str) -> None:
    found = count_or_refusal(written)
    assert isinstance(found, int) or ("200k" in str(found) and "3B" in str(found))


@pytest.mark.parametrize(
    "written",
    ["", "k", "lots", "3 billions", "3b", "inf", "nan", "1e999", "9223372036854775808", "-"],
)
def test_junk_is_no_count(written: str) -> None:
    with pytest.raises(ValueError, match="expected a count such as"):
        parse_count(written)


@pytest.mark.parametrize("given_value", [7, 1.5, None, [1]])
def test_what_is_no_text_is_left_to_the_type_check(given_value: object) -> None:
    assert parse_count(given_value) is given_value
