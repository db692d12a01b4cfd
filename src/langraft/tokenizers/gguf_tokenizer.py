"""The tokenizer in a GGUF file as a ``tokenizer.json`` and its config.

A GGUF file holds vocabulary, merges, the kind of each token and the ids of special ones. Of the
rest it has only names: how text is split (``gguf_words``), and the kind of vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langraft.core.errors import ModelError
from langraft.tokenizers.gguf_words import Words, words_of
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

BYTE_LEVEL, SENTENCEPIECE = "gpt2", "llama"  # as tokenizer.ggml.model names them
_KEY = "tokenizer.ggml."
_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 2, 3, 4, 6  # of tokenizer.ggml.token_type
_NEVER_MERGED = (_UNKNOWN, _CONTROL, _BYTE)
_SPACE = "▁"
_NAMES = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}


def kind_of_tokenizer(fields: Mapping[str, Any], path: Path) -> str:
    """Return the kind of a file's vocabulary.

    Args:
        fields: The file's metadata.
        path: The file, for messages.

    Raises:
        ModelError: when it has no tokenizer, or one of another kind than those two.
    """
    kind = fields.get(f"{_KEY}model")
    if kind in (None, "none", "no_vocab") or not fields.get(f"{_KEY}tokens"):
        raise ModelError(
            f"{path} holds no tokenizer (tokenizer.ggml.model and tokenizer.ggml.tokens). Give a "
            "file that has one, or the folder or hub name of the model it was made from."
        )
    if kind not in (BYTE_LEVEL, SENTENCEPIECE):
        raise ModelError(
            f"{path} has a tokenizer of kind {kind!r} (tokenizer.ggml.model). langraft reads "
            f"{BYTE_LEVEL!r} (byte-level BPE) and {SENTENCEPIECE!r} (SentencePiece) out of GGUF. "
            "Give the folder or the hub name of the model that the file was made from."
        )
    return kind


def read_tokenizer(fields: Mapping[str, Any], path: Path) -> Tokenizer:
    """Return the tokenizer of a file.

    Args:
        fields: The file's metadata.
        path: The file, for messages.

    Raises:
        ModelError: when it has none, one of another kind, of words that are not known, or whose
            vocabulary and merges do not fit.
    """
    is_byte_level = kind_of_tokenizer(fields, path) == BYTE_LEVEL
    tokens: list[str] = fields[f"{_KEY}tokens"]
    if len(set(tokens)) < len(tokens):
        raise ModelError(f"{path} is damaged: its vocabulary has the same token twice.")
    types: list[int] = fields.get(f"{_KEY}token_type") or [0] * len(tokens)
    if len(types) != len(tokens):
        raise ModelError(f"{path} is damaged: it has {len(types)} types of {len(tokens)} tokens.")
    try:
        if is_byte_level:
            words = words_of(fields.get(f"{_KEY}pre"), path)
            tokenizer, adds_begin = _byte_level(fields, words), words.adds_begin
        else:
            tokenizer, adds_begin = _sentencepiece(fields, types), True
    except ModelError:
        raise
    except Exception as error:  # the library raises bare Exception
        raise ModelError(f"{path} is damaged: its merges do not fit its vocabulary.") from error
    _add_whole_tokens(tokenizer, fields, types)
    tokenizer.post_processor = _post_processor(fields, adds_begin=adds_begin)
    return tokenizer


def _byte_level(fields: Mapping[str, Any], words: Words) -> Tokenizer:
    vocab = {token: number for number, token in enumerate(fields[f"{_KEY}tokens"])}
    merges = [_pair(merge) for merge in fields.get(f"{_KEY}merges", ())]
    tokenizer = Tokenizer(
        models.BPE(vocab=vocab, merges=merges, ignore_merges=words.ignores_merges)
    )
    if words.is_normalized:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = words.pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentencepiece(fields: Mapping[str, Any], types: Sequence[int]) -> Tokenizer:
    """Return a tokenizer of characters with byte fallback, as Llama 2's and Gemma's.

    The file has scores in place of merges: of all pairs of neighbours that are a token together
    the one of the highest score is joined first. Gemma's go by their ids instead.
    """
    tokens = [_respelled(token) for token in fields[f"{_KEY}tokens"]]
    vocab = {token: number for number, token in enumerate(tokens)}
    by_id = str(fields["general.architecture"]).startswith("gemma")
    scores: list[float] = [0.0] * len(tokens) if by_id else fields[f"{_KEY}scores"]
    ranked = sorted(
        (number for number, kind in enumerate(types) if kind not in _NEVER_MERGED),
        key=lambda number: (-scores[number], number),
    )
    merges = [pair for number in ranked for pair in _halves(tokens[number], vocab)]
    unknown = next((t for t, kind in zip(tokens, types, strict=True) if kind == _UNKNOWN), None)
    tokenizer = Tokenizer(
        models.BPE(vocab=vocab, merges=merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    )
    has_prefix = fields.get(f"{_KEY}add_space_prefix", True)
    spaces = normalizers.Replace(" ", _SPACE)
    tokenizer.normalizer = (
        normalizers.Sequence([normalizers.Prepend(_SPACE), spaces]) if has_prefix else spaces
    )
    strip = [decoders.Strip(content=" ", left=1)] if has_prefix else []
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return tokenizer


def _respelled(token: str) -> str:
    """Return a token of spaces alone as text spells it: Gemma's files have real spaces there."""
    return _SPACE * len(token) if token and not token.strip(" ") else token


def _halves(token: str, vocab: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return the pairs of tokens that a token can be joined from, those of small ids first."""
    pairs = [(token[:at], token[at:]) for at in range(1, len(token))]
    known = [pair for pair in pairs if pair[0] in vocab and pair[1] in vocab]
    return sorted(known, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))


def _add_whole_tokens(
    tokenizer: Tokenizer, fields: Mapping[str, Any], types: Sequence[int]
) -> None:
    """Add the tokens that text is searched for first; those of control are special."""
    tokens: list[str] = fields[f"{_KEY}tokens"]
    named = {tokens[i] for i in _special_ids(fields).values()}
    kinds = dict(zip(tokens, types, strict=True))
    special = [t for t in tokens if t in named or kinds[t] in (_UNKNOWN, _CONTROL)]
    plain = [t for t in tokens if kinds[t] == _USER_DEFINED and t not in named]
    known = [t for t in plain if tokenizer.token_to_id(t) is not None]  # not those respelled
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in known])


def _post_processor(fields: Mapping[str, Any], *, adds_begin: bool) -> processors.PostProcessor:
    """Return what puts special tokens around a text.

    Args:
        fields: The file's metadata.
        adds_begin: Whether begin-of-text is put before a text where the file does not say.
    """
    tokens: list[str] = fields[f"{_KEY}tokens"]
    ids = _special_ids(fields)
    around = {
        "bos": fields.get(f"{_KEY}add_bos_token", adds_begin) and "bos" in ids,
        "eos": fields.get(f"{_KEY}add_eos_token", False) and "eos" in ids,
    }
    before, behind = ([tokens[ids[name]]] if around[name] else [] for name in ("bos", "eos"))
    return processors.TemplateProcessing(
        single=[*before, "$A", *behind],
        pair=[*before, "$A", *behind, *(f"{t}:1" for t in before), "$B:1"]
        + [f"{token}:1" for token in behind],
        special_tokens=[(tokens[ids[name]], ids[name]) for name in around if around[name]],
    )


def tokenizer_config(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's ``tokenizer_config.json``, of the class that takes tokenizer.json as is."""
    tokens: list[str] = fields[f"{_KEY}tokens"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        **{f"{name}_token": tokens[number] for name, number in _special_ids(fields).items()},
    }


def end_ids(fields: Mapping[str, Any]) -> list[int]:
    """Return the ids that end an answer: end of text, of a turn and of a message."""
    found = (fields.get(f"{_KEY}{name}_token_id") for name in ("eos", "eot", "eom"))
    num_tokens = len(fields[f"{_KEY}tokens"])
    return list(dict.fromkeys(i for i in found if i is not None and i < num_tokens))


def _special_ids(fields: Mapping[str, Any]) -> dict[str, int]:
    """Return the ids of special tokens by transformers' name; those out of range do not count."""
    found = {name: fields.get(f"{_KEY}{key}_token_id") for name, key in _NAMES.items()}
    num_tokens = len(fields[f"{_KEY}tokens"])
    return {name: i for name, i in found.items() if i is not None and i < num_tokens}


def _pair(merge: str) -> tuple[str, str]:
    at = merge.index(" ", 1)
    return merge[:at], merge[at + 1 :]
