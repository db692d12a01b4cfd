"""The files of an extended tokenizer: the base's ``tokenizer.json`` and config with new tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from langraft.core.base_files import TokenizerConfig, read_base_object, read_model_config
from langraft.tokenizers.merges import Pair
from langraft.tokenizers.vocabulary import BaseVocabulary

TOKENIZER_CONFIG_JSON = "tokenizer_config.json"
_SPECIAL_TOKENS = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


def extended_settings(
    base: Path,
    vocabulary: BaseVocabulary,
    spelling_of: Mapping[int, str],
    merges: list[Pair],
) -> dict[str, Any]:
    """Return the base's ``tokenizer.json`` with new entries and merges.

    Args:
        base: Folder of the base's tokenizer.
        vocabulary: Of the base.
        spelling_of: Spelling of each new token by its id.
        merges: Pairs of ids that become new tokens, in order.
    """
    settings = vocabulary.settings
    model: dict[str, Any] = settings["model"]
    # A reader numbers added tokens that the vocabulary lacks from its size on, so all are listed.
    known = model["vocab"] | {token: number for number, token in vocabulary.added.items()}
    learned = {spelling: token for token, spelling in spelling_of.items()}
    spelled = vocabulary.spelling_of | dict(spelling_of)
    pairs = [[spelled[left], spelled[right]] for left, right in merges]
    is_joined = any(isinstance(merge, str) for merge in model["merges"][:1])
    added = [" ".join(pair) for pair in pairs] if is_joined else pairs
    entries = known | _reserved_entries(base, vocabulary, spelling_of) | learned
    vocab = dict(sorted(entries.items(), key=lambda entry: entry[1]))
    return settings | {"model": model | {"vocab": vocab, "merges": [*model["merges"], *added]}}


def extended_config(base: Path, vocabulary: BaseVocabulary) -> dict[str, Any]:
    """Return the base's ``tokenizer_config.json``, with the class that takes tokenizer.json as is.

    The base's class may name special tokens that its files leave out; ``config.json`` knows them.
    """
    config = _config_of(base)
    model = read_model_config(base) if (base / "config.json").is_file() else {}
    named: dict[str, Any] = {}
    for name in ("bos_token", "eos_token"):
        number: Any = model.get(f"{name}_id")
        number = number[0] if isinstance(number, list) and number else number
        if isinstance(number, int) and number in vocabulary.spelling_of:
            named[name] = vocabulary.spelling_of[number]
    config.pop("auto_map", None)  # a class of the base's own, which would not know the new tokens
    return named | config | {"tokenizer_class": "PreTrainedTokenizerFast"}


def _reserved_entries(
    base: Path, vocabulary: BaseVocabulary, spelling_of: Mapping[int, str]
) -> dict[str, int]:
    """Return an entry for every id before the new ones that the base's tokenizer leaves out.

    The first are the tokens that only ``tokenizer_config.json`` names: transformers adds them
    when it loads the base's tokenizer, and finds them here at the same ids.
    """
    taken = {*vocabulary.ids, *spelling_of.values()}
    named = dict.fromkeys(_named_tokens(_config_of(base)))
    left_out = (token for token in named if token not in taken)
    reserved: dict[str, int] = {}
    for number in range(min(spelling_of)):
        if number not in vocabulary.spelling_of:
            spelling = next(left_out, f"<|reserved_{number}|>")
            while spelling in taken or spelling in reserved:
                spelling = f"<{spelling}>"
            reserved[spelling] = number
    return reserved


def _named_tokens(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the tokens that a ``tokenizer_config.json`` names, in transformers' order."""
    added: dict[str, Any] = config.get("added_tokens_decoder") or {}
    found = [added[number] for number in sorted(added, key=int)]
    found += [config.get(f"{name}_token") for name in _SPECIAL_TOKENS]
    for key in ("additional_special_tokens", "extra_special_tokens"):
        more: Any = config.get(key) or ()
        found += more.values() if isinstance(more, dict) else more
    for token in found:
        spelling: Any = token.get("content") if isinstance(token, dict) else token
        if isinstance(spelling, str):
            yield spelling


def _config_of(base: Path) -> dict[str, Any]:
    """Return what ``tokenizer_config.json`` of a base holds; nothing where there is none."""
    path = base / TOKENIZER_CONFIG_JSON
    return read_base_object(path, TokenizerConfig) if path.is_file() else {}
