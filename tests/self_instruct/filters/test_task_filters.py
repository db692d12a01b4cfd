from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from langraft.core.errors import CorpusError
from langraft.self_instruct.filters.language_check import (
    LanguageCheck,
    make_language_check,
    names_language,
    prose,
)
from langraft.self_instruct.filters.settings import TaskFilterSettings
from langraft.self_instruct.filters.task_filters import TaskFilters
from langraft.self_instruct.parse_tasks import DroppedTask, ParsedTask

TABLE = Path(__file__).parents[2] / "data" / "task_filters.jsonl"
RECORDS = [json.loads(line) for line in TABLE.read_text("utf-8").splitlines()]
SETTINGS = TaskFilterSettings()


@cache
def check(language: str) -> LanguageCheck:
    pytest.importorskip("lingua")
    return make_language_check(language, SETTINGS)


def filters_without_check(language: str) -> TaskFilters:
    settings = TaskFilterSettings(identify=False)
    return TaskFilters(make_language_check(language, settings), [], settings)


def task(record: dict[str, Any]) -> ParsedTask:
    return ParsedTask(record["instruction"], record["input"], record["output"])


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: f"{r['language']}: {r['why']}")
def test_results_are_those_reached_by_hand(record: dict[str, Any]) -> None:
    language = record["language"]
    filters = TaskFilters(check(language), record["collected"], SETTINGS)
    result = filters.apply(task(record))
    expected = record["expected"]
    if expected == "kept":
        assert result == task(record)
    elif expected == "input_removed":
        assert result == task(record)._replace(input="")
    else:
        assert isinstance(result, DroppedTask)
        assert result.reason == expected
    assert filters.num_inputs_removed == (expected == "input_removed")


def test_the_table_covers_every_result_in_eight_languages() -> None:
    assert len(RECORDS) == 40
    assert set(Counter(r["language"] for r in RECORDS).values()) == {5}
    assert set(r["expected"] for r in RECORDS) == {
        *("kept", "input_removed", "incomplete", "web_link", "input_overlap", "similar"),
        *("wrong_language_instruction", "wrong_language_input", "wrong_language_output"),
    }


# Instruction of five words, input of five; two in common are F = 0.4, one is 0.2.
WITH_TWO = ParsedTask("a b c d e", "a b x y z", "fine")
WITH_ONE = ParsedTask("a b c d e", "a w x y z", "fine")


@pytest.mark.parametrize(
    ("language", "given", "is_kept"),
    [
        ("en", WITH_TWO, True),
        ("ko", WITH_TWO, False),
        ("vi", WITH_TWO, False),
        ("ar", WITH_TWO, False),
        ("ar-EG", WITH_TWO, False),
        ("ko", WITH_ONE, True),
        ("vi", WITH_ONE, True),
        ("ar", WITH_ONE, True),  # 0.2 is not above 0.2
    ],
)
def test_korean_vietnamese_and_arabic_have_limits_of_their_own(
    language: str, given: ParsedTask, is_kept: bool
) -> None:
    result = filters_without_check(language).apply(given)
    assert (result == given) is is_kept


@pytest.mark.parametrize(("overlap", "is_kept"), [(2, True), (3, True), (4, False)])
def test_three_tenths_is_kept_in_korean_and_more_is_not(overlap: int, is_kept: bool) -> None:
    given = ParsedTask(
        "a b c d e f g h i j", " ".join("abcd"[:overlap] + "qrstuvwxyz"[overlap:]), "fine"
    )
    assert isinstance(filters_without_check("ko").apply(given), ParsedTask) is is_kept


def test_a_kept_instruction_joins_the_collected_ones_and_a_dropped_one_does_not() -> None:
    filters = filters_without_check("en")
    linked = ParsedTask("Describe a lighthouse at night.", "", "See www.example.org")
    good = linked._replace(output="Its beam sweeps over the water.")
    assert isinstance(filters.apply(linked), DroppedTask)
    assert filters.apply(good) == good
    again = filters.apply(good)
    assert isinstance(again, DroppedTask)
    assert again.reason == "similar"
    assert again.text == "Describe a lighthouse at night. | Its beam sweeps over the water."


def test_an_input_is_contained_as_whole_words_with_its_signs() -> None:
    filters = filters_without_check("en")
    for instruction, given in [
        ("Name the category.", "cat"),
        ("What is the sum of 3 + 5 and two?", "3 - 5"),
        ("Which letters does the letter C come after?", "C++"),
    ]:
        assert filters.apply(ParsedTask(instruction, given, "x")) == ParsedTask(
            instruction, given, "x"
        )
    assert filters.apply(ParsedTask("Is  3 + 5\nodd?", "3 + 5", "no")) == ParsedTask(
        "Is  3 + 5\nodd?", "", "no"
    )


def test_without_an_identifier_no_language_is_judged() -> None:
    record = next(r for r in RECORDS if r["expected"] == "wrong_language_instruction")
    assert make_language_check("rw", TaskFilterSettings(identify=False)).identify is None
    assert filters_without_check(record["language"]).apply(task(record)) == task(record)


def test_a_language_that_the_identifier_lacks_is_said() -> None:
    pytest.importorskip("lingua")
    with pytest.raises(CorpusError, match="cannot identify rw"):
        make_language_check("rw", SETTINGS)


def test_a_script_of_the_language_is_told_from_other_languages_only() -> None:
    filters = TaskFilters(check("zh-Hant"), [], SETTINGS)
    good = ParsedTask("請列出三種節約用電的方法,並說明理由。", "", "隨手關燈、使用節能燈泡。")
    assert filters.apply(good) == good


def test_own_limits_leave_the_others_as_they_are() -> None:
    settings = TaskFilterSettings.model_validate({"overlap_with_input": {"sw": 0.4}})
    assert [settings.overlap_limit(code) for code in ("sw", "ar", "el")] == [0.4, 0.2, 0.5]


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"overlap_with_input": {"greek": 0.4}}, "overlap_with_input"),
        ({"overlap_with_input": {"el": 1.4}}, "overlap_with_input"),
        ({"overlap_with_input": 0.4}, "overlap_with_input"),
        ({"overlap_with_pool": 0}, "overlap_with_pool"),
        ({"overlap_with_pool": float("nan")}, "overlap_with_pool"),
        ({"other_languages": []}, "other_languages"),
        ({"min_letters": 0}, "min_letters"),
    ],
)
def test_wrong_limits_are_refused(data: dict[str, Any], path: str) -> None:
    with pytest.raises(ValidationError, match=path):
        TaskFilterSettings.model_validate(data)


@pytest.mark.parametrize(
    ("text", "code", "language", "is_named"),
    [
        ("Переведи на английский язык.", "en", "ru", True),
        ("Напиши на английском.", "en", "ru", True),
        ("Traduce al inglés.", "en", "es", True),
        ("Traduce al inglés.", "fr", "es", False),
        ("翻译成英文", "en", "zh", True),
        ("Fordítsd angolra!", "en", "hu", True),
        ("Tafsiri kwa English.", "en", "sw", True),
        ("Μετάφρασε στα ελληνικά.", "el", "el", True),
    ],
)
def test_languages_are_named_in_many_ways(
    text: str, code: str, language: str, is_named: bool
) -> None:
    assert names_language(text, code, language) is is_named


def test_code_quotations_and_names_are_no_prose() -> None:
    assert prose("SELECT name FROM users WHERE age > 30 AND (city = 'x');") == ""
    assert prose("Qué hace `print(x)` y “this one” aquí (en total)?") == "hace y aquí (en total)?"
    assert prose("1. (The Beatles) de 'Abbey Road'\n2. 你好 World") == "1. de 2. 你好"


def test_a_list_of_foreign_names_is_kept() -> None:
    filters = TaskFilters(check("es"), [], SETTINGS)
    given = ParsedTask(
        "Da una lista de canciones de jazz.", "", "Take Five, Autumn Leaves, Blue in Green"
    )
    assert filters.apply(given) == given
