from __future__ import annotations

import unicodedata
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.corpus.text_batch import TextBatch, characters_per_word, repeated
from thorough import examples

# Letters with and without case, marks, digits, blanks of several kinds, scripts without spaces.
TEXT = st.text(st.sampled_from("aAbßİ éΣςе़कि9٣ \t\n\u00a0.,-#中文かなไทย"), max_size=60)
TEXTS = st.lists(TEXT, max_size=6)


def is_unspaced(character: str) -> bool:
    names = ("CJK", "HIRAGANA", "KATAKANA", "THAI")
    return unicodedata.name(character, "").startswith(names)


def plain_words(text: str) -> list[str]:
    """Words as the module's docstring says, one character after another."""
    words, current = [], ""
    for character in text + " ":
        kind = unicodedata.category(character)[0]
        is_word = kind in "LMN"
        if current and (not is_word or is_unspaced(character)):
            words.append(current)
            current = ""
        if is_word and is_unspaced(character):
            words.append(character)
        elif is_word:
            current += character
    return words


def found_words(batch: TextBatch) -> list[list[str]]:
    words: list[list[str]] = [[] for _ in batch]
    spans = batch.words
    for start, stop, document in zip(spans.start, spans.stop, spans.document, strict=True):
        first = batch.first_character_D[document]
        words[document].append(batch.texts[document][start - first : stop - first])
    return words


@given(TEXTS)
def test_words_are_those_of_a_plain_loop(texts: list[str]) -> None:
    assert found_words(TextBatch(texts, "en")) == [plain_words(text) for text in texts]


@given(TEXTS)
def test_lines_are_those_that_are_not_blank(texts: list[str]) -> None:
    batch = TextBatch(texts, "en")
    found: list[list[str]] = [[] for _ in texts]
    spans = batch.lines
    for start, stop, document in zip(spans.start, spans.stop, spans.document, strict=True):
        first = batch.first_character_D[document]
        found[document].append(texts[document][start - first : stop - first])
    assert found == [[line.strip() for line in t.split("\n") if line.strip()] for t in texts]


def test_paragraphs_are_what_stands_between_blank_lines() -> None:
    batch = TextBatch(["one\ntwo\n\nthree\n\n\nfour\n", "five"], "en")
    found = [
        batch.texts[d][a - batch.first_character_D[d] : b - batch.first_character_D[d]]
        for a, b, d in zip(
            batch.paragraphs.start, batch.paragraphs.stop, batch.paragraphs.document, strict=True
        )
    ]
    assert found == ["one\ntwo", "three", "four", "five"]


@given(TEXTS)
def test_equal_words_and_only_they_hash_alike_in_any_case(texts: list[str]) -> None:
    batch = TextBatch(texts, "en")
    words = [w for of_text in found_words(batch) for w in of_text]
    folded = ["".join(c.lower() if len(c.lower()) == 1 else c for c in w) for w in words]
    by_hash: dict[int, str] = {}
    for word, found in zip(folded, batch.words.hashes.tolist(), strict=True):
        assert by_hash.setdefault(found, word) == word
    assert len(by_hash) == len(set(folded))


@given(TEXTS, st.integers(1, 4))
@settings(max_examples=examples(50))
def test_ngrams_are_the_runs_of_words_inside_a_text(texts: list[str], length: int) -> None:
    batch = TextBatch(texts, "en")
    counts = Counter(batch.ngrams(length).document.tolist())
    for number, words in enumerate(found_words(batch)):
        assert counts[number] == max(0, len(words) - length + 1)


@given(TEXTS, st.integers(1, 3))
@settings(max_examples=examples(50))
def test_the_share_in_repeated_ngrams_is_that_of_a_plain_loop(
    texts: list[str], length: int
) -> None:
    batch = TextBatch(texts, "en")
    measured = batch.share_of_characters(repeated(batch.ngrams(length)))
    ngrams = batch.ngrams(length)
    for number, text in enumerate(texts):
        mine = np.flatnonzero(ngrams.document == number)
        seen, covered = set[int](), set[int]()
        for place in mine:
            if int(ngrams.hashes[place]) in seen:
                covered |= set(range(ngrams.start[place], ngrams.stop[place]))
            seen.add(int(ngrams.hashes[place]))
        assert measured[number] == pytest.approx(len(covered) / max(len(text), 1))


def test_a_batch_of_nothing_has_nothing() -> None:
    batch = TextBatch([], "en")
    assert len(batch.words) == len(batch.lines) == len(batch.ngrams(3)) == 0
    assert batch.share_of_characters(batch.words).tolist() == []


def test_texts_do_not_depend_on_their_neighbours() -> None:
    alone = TextBatch(["a b c a b c"], "en")
    beside = TextBatch(["zzz", "a b c a b c", "a b"], "en")
    mine = beside.words.document == 1
    assert beside.words.hashes[mine].tolist() == alone.words.hashes.tolist()


@pytest.mark.parametrize(("code", "each"), [("zh-Hant", 2), ("th", 4), ("el", 0)])
def test_languages_without_spaces_count_characters(code: str, each: int) -> None:
    assert characters_per_word(code) == each
