from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from langraft.core.errors import CorpusError, ModelError
from langraft.corpus.storage.shards import ShardWriter, TokenShards
from langraft.tokenizers.document_tokenizer import DocumentTokenizer, cached_tokenizer
from langraft.tokenizers.training import END_OF_TEXT, train_tokenizer
from thorough import examples
from tokenizers import Tokenizer, models, pre_tokenizers, processors


@pytest.fixture
def folder(tmp_path: Path, tokenizer_folder: Path) -> Path:
    """Return a copy of the trained tokenizer that a test may spoil."""
    return Path(shutil.copytree(tokenizer_folder, tmp_path / "copy"))


def add_special_tokens_around(folder: Path, template: str) -> Tokenizer:
    path = str(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.add_special_tokens(["<s>"])
    special = [(token, tokenizer.token_to_id(token)) for token in ("<s>", END_OF_TEXT)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, pair=f"{template} $B:1", special_tokens=special
    )
    tokenizer.save(path)
    return tokenizer


# Documents


def test_a_document_ends_with_the_end_of_text_token(tokenizer: DocumentTokenizer) -> None:
    for tokens in tokenizer.encode(["The sea is calm.", "θάλασσα", ""]):
        assert tokens.dtype == np.int64
        assert tokens[-1] == tokenizer.end_of_text_id
        assert (tokens == tokenizer.end_of_text_id).sum() == 1


def test_a_begin_token_is_kept_where_the_tokenizer_adds_one(folder: Path) -> None:
    library = add_special_tokens_around(folder, "<s> $A")
    tokenizer = DocumentTokenizer(folder)
    (tokens,) = tokenizer.encode(["The sea"])
    assert tokens.tolist() == [*library.encode("The sea").ids, tokenizer.end_of_text_id]
    assert tokens[0] == library.token_to_id("<s>")


def test_an_end_token_that_the_tokenizer_adds_itself_stands_there_once(folder: Path) -> None:
    library = add_special_tokens_around(folder, f"<s> $A {END_OF_TEXT}")
    (tokens,) = DocumentTokenizer(folder).encode(["The sea"])
    assert tokens.tolist() == library.encode("The sea").ids


def test_a_token_may_span_the_combining_marks_of_a_word(tmp_path: Path) -> None:
    counts: list[int] = []
    for words in ("marks", "gpt2"):
        texts = ["नमस्ते दुनिया, किताब मेज़ पर है। "] * 9
        train_tokenizer(texts, 400, tmp_path, words=words)
        tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
        counts.append(len(tokenizer.encode(" दुनिया").ids))
    assert counts == [1, 6]


def test_padding_and_truncation_of_the_tokenizer_are_switched_off(folder: Path) -> None:
    path = str(folder / "tokenizer.json")
    library = Tokenizer.from_file(path)
    library.enable_truncation(4)
    library.enable_padding(length=4)
    library.save(path)
    short, long = DocumentTokenizer(folder).encode(["a", "The sea is calm tonight. " * 9])
    assert len(short) == 2
    assert len(long) > 20


def test_a_vocabulary_with_gaps_has_room_for_its_largest_id(tmp_path: Path) -> None:
    library = Tokenizer(models.WordLevel({"sea": 0, "calm": 5, "<eos>": 9}, unk_token="sea"))
    library.pre_tokenizer = pre_tokenizers.Whitespace()
    library.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "<eos>"}', encoding="utf-8")
    tokenizer = DocumentTokenizer(tmp_path)
    (tokens,) = tokenizer.encode(["sea calm"])
    assert tokens.tolist() == [0, 5, 9]
    assert tokenizer.vocab_size >= 10
    writer = ShardWriter(tmp_path / "shards", tokenizer.vocab_size)
    writer.add(tokens, "one")
    writer.close()
    assert TokenShards(tmp_path / "shards").read(0, 3).tokens.tolist() == [0, 5, 9]


# The end-of-text token


def test_the_end_of_text_may_be_written_as_a_group_of_keys(folder: Path) -> None:
    config = {"eos_token": {"content": END_OF_TEXT, "special": True}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert DocumentTokenizer(folder).end_of_text_id == 0


@pytest.mark.parametrize(("written", "wanted"), [(7, 7), ([8, 9], 8)])
def test_the_end_of_text_may_come_from_the_model(
    folder: Path, written: object, wanted: int
) -> None:
    (folder / "tokenizer_config.json").unlink()
    (folder / "config.json").write_text(json.dumps({"eos_token_id": written}), encoding="utf-8")
    assert DocumentTokenizer(folder).end_of_text_id == wanted


@pytest.mark.parametrize("config", ["{}", '{"eos_token": null}', '{"eos_token": "<none>"}'])
def test_a_folder_without_end_of_text_is_told_both_places(folder: Path, config: str) -> None:
    (folder / "tokenizer_config.json").write_text(config, encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        DocumentTokenizer(folder)
    assert str(folder) in str(caught.value)
    assert "`eos_token` in tokenizer_config.json" in str(caught.value)
    assert "`eos_token_id` in config.json" in str(caught.value)


# Folders that hold no tokenizer


def test_a_folder_without_a_tokenizer_is_told_how_to_save_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        DocumentTokenizer(tmp_path)
    assert f"{tmp_path} has no tokenizer.json" in str(caught.value)
    assert "save_pretrained" in str(caught.value)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe"])
def test_a_damaged_tokenizer_is_named(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    with pytest.raises(ModelError, match=name):
        DocumentTokenizer(folder)


# Training


@settings(max_examples=examples(60))
@given(texts=st.lists(st.text("ab θά2024🎈\n\t'é", max_size=20), min_size=1, max_size=4))
def test_transformers_gives_the_same_ids_without_the_end_of_text(
    tokenizer_folder: Path, tokenizer: DocumentTokenizer, texts: list[str]
) -> None:
    library = AutoTokenizer.from_pretrained(tokenizer_folder)
    for text, tokens in zip(texts, tokenizer.encode(texts), strict=True):
        assert library(text)["input_ids"] == tokens[:-1].tolist()
        assert library.decode(tokens[:-1]) == text


def test_transformers_knows_the_end_of_text(
    tokenizer_folder: Path, tokenizer: DocumentTokenizer
) -> None:
    library = AutoTokenizer.from_pretrained(tokenizer_folder)
    assert library.eos_token == END_OF_TEXT
    assert library.eos_token_id == tokenizer.end_of_text_id
    assert len(library) == tokenizer.vocab_size == 320


def test_digits_are_tokens_of_their_own(tokenizer: DocumentTokenizer, tmp_path: Path) -> None:
    train_tokenizer(["2024 2024 2024 2024"] * 9, 300, tmp_path)
    (tokens,) = DocumentTokenizer(tmp_path).encode(["2024"])
    assert len(tokens) == 5
    assert tokens[0] == tokens[2]


def test_training_twice_gives_the_same_tokenizer(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        train_tokenizer(["The sea is calm tonight.", "Η θάλασσα"] * 9, 300, tmp_path / name)
    first, second = ((tmp_path / n / "tokenizer.json").read_bytes() for n in ("first", "second"))
    assert first == second


def test_a_tokenizer_is_not_trained_on_nothing(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no text to train a tokenizer on"):
        train_tokenizer([], 300, tmp_path)


def test_a_tokenizer_is_loaded_once_and_anew_when_it_was_made_again(tmp_path: Path) -> None:
    train_tokenizer(["the sea is calm"] * 9, 300, tmp_path)
    first = cached_tokenizer(tmp_path)
    assert cached_tokenizer(tmp_path) is first
    train_tokenizer(["the house is by the river"] * 9, 310, tmp_path)
    stat = (tmp_path / "tokenizer.json").stat()
    os.utime(tmp_path / "tokenizer.json", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    again = cached_tokenizer(tmp_path)
    assert again is not first
    assert again.encode(["the house"])[0].tolist() != first.encode(["the house"])[0].tolist()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("tokenizer_config.json", "[]", "holds a list; it should be an object"),
        ("tokenizer_config.json", '{"eos_token": 3}', "holds 3 under eos_token"),
        ("tokenizer_config.json", '{"eos_token": {}}', "lacks the key eos_token"),
        ("config.json", "null", "holds null; it should be an object"),
        ("config.json", '{"eos_token_id": "2"}', 'holds "2" under eos_token_id'),
        ("config.json", '{"eos_token_id": [true]}', "holds true under eos_token_id"),
        ("config.json", '{"eos_token_id": 1e99}', "holds 1e+99 under eos_token_id"),
    ],
)
def test_a_config_of_another_shape_is_told_with_its_key(
    folder: Path, name: str, text: str, said: str
) -> None:
    (folder / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        DocumentTokenizer(folder)
    assert f"{folder / name} {said}" in str(caught.value)
