"""How GGUF files split text into words: by a name, which stands for rules that the file leaves out.

A GGUF file of a byte-level vocabulary has no pre-tokenizer, only what llama.cpp calls it
(``tokenizer.ggml.pre``). Each name here stands for the rules of the tokenizer.json that the name
was given for; ``default`` alone has no such file, and does what llama.cpp does. An unknown name is
refused, as llama.cpp refuses it: other words give other tokens than the model has learned, and
nothing would say so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langraft.core.errors import ModelError, did_you_mean
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3 = (
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}"
    rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACES}"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_TEKKEN = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*"
    rf"|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACES}"
)


@dataclass(frozen=True, slots=True)
class Words:
    """What a name of ``tokenizer.ggml.pre`` stands for.

    Attributes:
        pre_tokenizer: Makes the pre-tokenizer.
        is_normalized: Text is brought to NFC first.
        ignores_merges: A word that is in the vocabulary is its token, whatever the merges say.
        adds_begin: Begin-of-text is put before a text where the file does not say.
    """

    pre_tokenizer: Callable[[], pre_tokenizers.PreTokenizer]
    is_normalized: bool = False
    ignores_merges: bool = False
    adds_begin: bool = False


def words_of(name: str | None, path: object) -> Words:
    """Return the words of a byte-level vocabulary.

    Args:
        name: ``tokenizer.ggml.pre``; None where the file has no such key.
        path: The file, for the message.

    Raises:
        ModelError: when the name is unknown or missing.
    """
    if name in _WORDS:
        return _WORDS[name]
    what = (
        "does not say how its tokenizer splits text into words (tokenizer.ggml.pre), as files made "
        "before May 2024"
        if name is None
        else f"splits text into words as {name!r} does (tokenizer.ggml.pre), which langraft does "
        f"not know.{did_you_mean(name, _WORDS)} It knows {', '.join(_WORDS)}"
    )
    raise ModelError(
        f"{path} {what}. Cut in another way, text would become tokens that the model never saw. "
        "Give the folder or the hub name of the model that the file was made from."
    )


def _gpt2() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def _digits_and_gpt2() -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), _gpt2()])


def _split(*patterns: str) -> Callable[[], pre_tokenizers.PreTokenizer]:
    """Return what splits by one pattern after the other."""
    return lambda: pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


_OF_LLAMA3 = Words(_split(_LLAMA3), ignores_merges=True, adds_begin=True)
_WORDS = {
    "default": Words(
        _split(r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
    ),
    "gpt-2": Words(_gpt2),
    "phi-2": Words(_gpt2),
    "smollm": Words(_digits_and_gpt2),
    "starcoder": Words(_digits_and_gpt2),
    "llama-bpe": _OF_LLAMA3,
    "llama3": _OF_LLAMA3,
    "llama-v3": _OF_LLAMA3,
    "qwen2": Words(_split(_QWEN2), is_normalized=True),
    "tekken": Words(_split(_TEKKEN), ignores_merges=True, adds_begin=True),
}


def names_of_words() -> tuple[str, ...]:
    """Return the names that llama.cpp has and langraft knows the rules of."""
    return tuple(_WORDS)


def name_of_words(tokenizer: Tokenizer) -> str | None:
    """Return a name whose rules split words as a tokenizer does; None where there is none."""
    wanted = _rules(tokenizer)
    for name, words in _WORDS.items():
        other = Tokenizer(models.BPE(ignore_merges=words.ignores_merges))
        other.pre_tokenizer = words.pre_tokenizer()
        if words.is_normalized:
            other.normalizer = normalizers.NFC()
        if _rules(other) == wanted:
            return name
    return None


def _rules(tokenizer: Tokenizer) -> tuple[list[Any], Any, bool]:
    """Return how a tokenizer splits text, without what does not touch its tokens."""
    found = json.loads(tokenizer.to_str())
    steps = found["pre_tokenizer"]
    steps = steps["pretokenizers"] if steps and steps["type"] == "Sequence" else [steps]
    plain = [{k: v for k, v in (step or {}).items() if k != "trim_offsets"} for step in steps]
    return plain, found["normalizer"], bool(found["model"].get("ignore_merges"))
