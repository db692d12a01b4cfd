from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

from langraft.core.errors import ModelError
from langraft.tokenizers.gguf_tokenizer import end_ids, read_tokenizer, tokenizer_config
from langraft.tokenizers.gguf_words import words_of
from langraft.tokenizers.training import train_tokenizer
from tokenizer_kinds import ENGLISH, GREEK, with_byte_fallback
from tokenizers import Tokenizer, pre_tokenizers

pytest.importorskip("gguf")
from gguf_files import sentencepiece_fields, tokenizer_fields

FILE = Path("models/x.gguf")
TRICKY = [
    "In 1984, 12345 cats' ears weren't   wet!\n\n\tThey'LL dry…",
    "Ο γέρος (82) είπε:«Όχι»·  e\u0301tude",
    " a\r\n  b  \n",
    "",
]


def fields_of(folder: Path, pre: str | None = "smollm", **changes: Any) -> dict[str, Any]:
    named = {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    return {"general.architecture": "llama"} | tokenizer_fields(folder, pre) | named


def cut(pre: str, text: str) -> list[str]:
    """Return the words of a text, spaces as ␣."""
    found = words_of(pre, FILE).pre_tokenizer().pre_tokenize_str(text)
    return [text[start:end].replace(" ", "␣") for _, (start, end) in found]


@pytest.mark.parametrize(
    ("pre", "words"),
    [
        ("gpt-2", "we 're ␣in ␣1984 , ␣ ␣DON ' T"),
        ("smollm", "we 're ␣in ␣ 1 9 8 4 , ␣ ␣DON ' T"),
        ("llama-bpe", "we 're ␣in ␣ 198 4 , ␣ ␣DON 'T"),
        ("qwen2", "we 're ␣in ␣ 1 9 8 4 , ␣ ␣DON 'T"),
        ("default", "we ' re ␣in ␣ 198 4 , ␣ ␣DON ' T"),
        ("tekken", "we 're ␣in ␣ 1 9 8 4 , ␣ ␣DON 'T"),
    ],
)
def test_a_name_stands_for_its_words(pre: str, words: str) -> None:
    assert cut(pre, "we're in 1984,  DON'T") == words.split()


def test_the_file_of_a_trained_tokenizer_gives_it_again(tokenizer_folder: Path) -> None:
    """Tokenizers that langraft trains cut digits as SmolLM's does."""
    original = Tokenizer.from_file(str(tokenizer_folder / "tokenizer.json"))
    found = read_tokenizer(fields_of(tokenizer_folder), FILE)
    for text in [*TRICKY, f"{ENGLISH}<|endoftext|>{GREEK}"]:
        assert found.encode(text).ids == original.encode(text).ids
        ids = original.encode(text).ids
        assert found.decode(ids) == original.decode(ids)
        kept = found.decode(ids, skip_special_tokens=False)
        assert kept == text
    assert found.get_vocab() == original.get_vocab()


def test_qwen2_cuts_and_normalises_as_its_own_class_does(tmp_path: Path) -> None:
    train_tokenizer([ENGLISH, GREEK, *TRICKY], 400, tmp_path)
    fields = fields_of(tmp_path, "qwen2")
    vocab = {token: i for i, token in enumerate(fields["tokenizer.ggml.tokens"])}
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    own: Any = Qwen2Tokenizer(vocab=vocab, merges=merges)
    found = read_tokenizer(fields, FILE)
    for text in [*TRICKY, ENGLISH, GREEK]:
        assert found.encode(text).ids == own(text).input_ids, text


def test_begin_and_end_of_text_are_added_where_the_file_says_so(tokenizer_folder: Path) -> None:
    tokens = tokenizer_fields(tokenizer_folder)["tokenizer.ggml.tokens"]
    begin = len(tokens)
    more = {
        "tokens": [*tokens, "<s>"],
        "token_type": [3, *[1] * (len(tokens) - 1), 3],
        "bos_token_id": begin,
    }

    def around(pre: str, **changes: Any) -> list[int]:
        fields = fields_of(tokenizer_folder, pre, **more, **changes)
        if changes.get("add_bos_token", True) is None:
            del fields["tokenizer.ggml.add_bos_token"]
        inner = read_tokenizer(fields, FILE).encode("e").ids
        return [i for i in inner if i in (0, begin)]

    assert around("smollm") == []
    assert around("smollm", add_bos_token=True, add_eos_token=True) == [begin, 0]
    assert around("smollm", add_bos_token=None) == []
    assert around("llama-bpe", add_bos_token=None) == [begin]
    assert around("llama-bpe") == []


def test_control_tokens_are_special_and_user_defined_ones_whole(tokenizer_folder: Path) -> None:
    tokens = tokenizer_fields(tokenizer_folder)["tokenizer.ggml.tokens"]
    size = len(tokens)
    fields = fields_of(
        tokenizer_folder,
        tokens=[*tokens, "<|turn|>", "<think>", "[PAD9]"],
        token_type=[3, *[1] * (size - 1), 3, 4, 5],
    )
    found = read_tokenizer(fields, FILE)
    ids = found.encode("a<|turn|><think>b [PAD9]").ids
    assert [i for i in ids if i >= size] == [size, size + 1]
    assert found.decode(ids) == "a<think>b [PAD9]"
    loaded = PreTrainedTokenizerFast(tokenizer_object=found, **tokenizer_config(fields))
    assert loaded.eos_token == "<|endoftext|>"
    assert loaded("a<|turn|>").input_ids == found.encode("a<|turn|>").ids


def test_an_answer_ends_at_the_end_of_a_turn_too(tokenizer_folder: Path) -> None:
    assert end_ids(fields_of(tokenizer_folder)) == [0]
    assert end_ids(fields_of(tokenizer_folder, eot_token_id=5, eom_token_id=0)) == [0, 5]
    assert end_ids(fields_of(tokenizer_folder, eot_token_id=10**6)) == [0]


def test_a_word_in_llama_3s_vocabulary_is_its_token_whatever_the_merges_say(
    tokenizer_folder: Path,
) -> None:
    tokens = tokenizer_fields(tokenizer_folder)["tokenizer.ggml.tokens"]
    whole = "Ġzebra"
    more = {"tokens": [*tokens, whole], "token_type": [3, *[1] * len(tokens)]}
    for pre, is_whole in {"llama-bpe": True, "qwen2": False}.items():
        found = read_tokenizer(fields_of(tokenizer_folder, pre, **more), FILE)
        assert (found.encode(" zebra").tokens == [whole]) is is_whole


@pytest.mark.parametrize("prefix", [True, False])
def test_scores_of_sentencepiece_give_the_merges_again(tmp_path: Path, prefix: bool) -> None:
    folder = with_byte_fallback(tmp_path / "base")
    original = Tokenizer.from_file(str(folder / "tokenizer.json"))
    fields = sentencepiece_fields(folder, add_space_prefix=prefix)
    found = read_tokenizer({"general.architecture": "llama"} | fields, FILE)
    for text in (ENGLISH, GREEK, "  the  house", " the</s> the", "the\nhouse"):
        ids = found.encode(text).ids
        assert (ids == original.encode(text).ids) is prefix
        if "</s>" not in text:
            assert found.decode(ids) == text
    assert found.get_vocab() == original.get_vocab()


def test_gemmas_merges_go_by_ids_and_its_runs_of_spaces_are_one_token(tmp_path: Path) -> None:
    folder = with_byte_fallback(tmp_path / "base")
    fields = sentencepiece_fields(folder, add_space_prefix=False)
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    fields["tokenizer.ggml.tokens"] = [*tokens, "  ", "   "]
    fields["tokenizer.ggml.token_type"].extend([4, 4])
    fields["tokenizer.ggml.scores"] = [-1000.0] * (len(tokens) + 2)
    found = read_tokenizer({"general.architecture": "gemma2"} | fields, FILE)
    assert "▁▁▁" in found.encode("the   house").tokens
    assert found.decode(found.encode("the   house").ids) == "the   house"
    assert found.encode("the").tokens == ["the"]


# Refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": None}, "holds no tokenizer"),
        ({"model": "none"}, "holds no tokenizer"),
        ({"tokens": []}, "holds no tokenizer"),
        ({"model": "t5"}, r"of kind 't5'.*'gpt2' .byte-level BPE. and 'llama'"),
        ({"pre": "qwen3"}, r"as 'qwen3' does.*Did you mean 'qwen2'\?.*hub name"),
        ({"pre": "deepseek-v3"}, "It knows default, gpt-2"),
        ({"pre": None}, "made before May 2024"),
        ({"tokens": ["a", "a"]}, "the same token twice"),
        ({"token_type": [1]}, "1 types of 320 tokens"),
        ({"merges": ["q zebra"]}, "merges do not fit"),
        ({"merges": ["q"]}, "merges do not fit"),
    ],
)
def test_what_is_no_tokenizer_is_refused(
    changes: dict[str, Any], message: str, tokenizer_folder: Path
) -> None:
    fields = fields_of(tokenizer_folder, **changes)
    with pytest.raises(ModelError, match=rf"models/x\.gguf.*{message}"):
        read_tokenizer({k: v for k, v in fields.items() if v is not None}, FILE)


def test_every_name_has_words_that_lose_no_byte() -> None:
    for pre in ("default", "gpt-2", "phi-2", "smollm", "starcoder", "llama3", "qwen2", "tekken"):
        for text in TRICKY:
            letters = "".join(
                w for w, _ in words_of(pre, FILE).pre_tokenizer().pre_tokenize_str(text)
            )
            assert len(letters) == len(text.encode())
            assert set(letters) <= set(pre_tokenizers.ByteLevel.alphabet())
