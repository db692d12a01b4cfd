from __future__ import annotations

from pathlib import Path

import pytest

from langraft.core.errors import ModelError
from langraft.tokenizers.fertility import measure_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A tokenizer whose counts can be done by hand: one token a character."""
    library = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    library.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    library.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_counts_are_those_done_by_hand(words: Path) -> None:
    found = measure_tokenizer(words, {"el": ["το σπίτι", "α"]})["el"]
    assert (found.num_tokens, found.num_words, found.num_bytes) == (9, 3, 17)
    assert found.tokens_per_word == 3
    assert found.bytes_per_token == 17 / 9
    assert found.parity is None


def test_a_character_is_a_word_where_words_are_not_spaced(words: Path) -> None:
    found = measure_tokenizer(words, {"zh": ["这些 症状"], "ko": ["이 증상"]})
    assert found["zh"].num_words == 4
    assert found["ko"].num_words == 2


def test_parity_compares_the_sentences_that_both_languages_have(words: Path) -> None:
    texts = {"el": ["abcd", None, "ab"], "en": ["ab", "abcdef", None], "ka": [None, "abc", None]}
    found = measure_tokenizer(words, texts, "en")
    assert found["en"].parity == 1
    assert found["el"].parity == 2
    assert found["ka"].parity == 0.5
    assert list(found) == ["el", "en", "ka"]


def test_a_language_that_shares_no_sentence_has_no_parity(words: Path) -> None:
    found = measure_tokenizer(words, {"en": ["a", None], "el": [None, "a"]}, "en")
    assert found["el"].parity is None


def test_bytes_of_characters_are_counted_as_parts(tokenizer_folder: Path) -> None:
    found = measure_tokenizer(tokenizer_folder, {"ka": ["სახლი"], "en": ["the house"]})
    assert found["ka"].partial_share > 0.9
    assert found["en"].partial_share == 0


def test_a_folder_without_tokenizer_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read"):
        measure_tokenizer(tmp_path, {"en": ["a"]})
