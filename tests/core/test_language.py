from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.core.language import check_language, language_name
from thorough import examples


@pytest.mark.parametrize("code", ["en", "el", "sw", "zh-Hant", "zh_Hant", "yue", "pt-BR"])
def test_a_language_that_cldr_knows_is_accepted_as_written(code: str) -> None:
    assert check_language(code) == code


@pytest.mark.parametrize("code", ["greek", "", "xx", "e", "123", "qzz", "../el", "el/x", " el"])
def test_anything_else_is_refused_with_examples(code: str) -> None:
    with pytest.raises(ValueError, match="expected a language code such as en, el"):
        check_language(code)


@settings(max_examples=examples(200))
@given(rest=st.text("./@_-\\ ab01", max_size=8))
def test_an_accepted_code_is_safe_as_a_folder_name(rest: str) -> None:
    try:
        code = check_language("el" + rest)
    except ValueError:
        return
    assert re.fullmatch(r"[A-Za-z0-9_-]+", code)


def test_a_language_has_a_name_in_english_and_in_others() -> None:
    assert language_name("el") == "Greek"
    assert language_name("zh-Hant") == "Chinese"
    assert language_name("el", "de") == "Griechisch"


@pytest.mark.parametrize("code", ["qzz", "", "no language"])
def test_a_code_without_a_name_names_itself(code: str) -> None:
    assert language_name(code) == code


def test_an_unknown_language_of_display_leaves_the_code() -> None:
    assert language_name("el", "qzz") == "el"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("english", "en"),
        ("Greek", "el"),
        ("ell", "el"),
        ("ELL", "el"),
        ("EL", "el"),
        ("swh_Latn", "sw-Latn"),
        ("cmn", "zh"),
        ("zh_CN.UTF-8", "zh-CN"),
        ("EN_us_POSIX", "en-US-posix"),
        ("el@euro", "el"),
        (" el", "el"),
    ],
)
def test_what_is_no_code_of_bcp_47_is_answered_with_the_code_that_is_meant(
    given: str, meant: str
) -> None:
    with pytest.raises(ValueError, match=rf"perhaps {meant!r} is meant"):
        check_language(given)
    assert check_language(meant) == meant


@pytest.mark.parametrize("code", ["grc", "kmb", "taq", "ca-valencia", "sr-Latn-RS", "no", "yue"])
def test_languages_that_cldr_only_knows_a_script_of_and_variants_are_accepted(code: str) -> None:
    assert check_language(code) == code


@settings(max_examples=examples(200))
@given(st.text(max_size=12) | st.from_regex(r"[a-zA-Z]{1,8}([-_][a-zA-Z0-9]{1,8}){0,3}"))
def test_any_text_is_a_code_or_refused_and_a_code_it_is_taken_for_is_accepted(text: str) -> None:
    try:
        assert check_language(text) == text
    except ValueError as error:
        if meant := re.search(r"perhaps '(.+)' is meant", str(error)):
            assert check_language(meant[1]) == meant[1]
