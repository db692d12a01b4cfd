"""Extending a base's tokenizer by tokens for new languages.

The folder of an extended tokenizer has

    tokenizer.json          the base's, with new entries and new merges after its own
    extension.json          the new tokens, each with the sequence of the base's tokens it replaces
    tokenizer_config.json   the base's, with the class that reads tokenizer.json as it stands
    chat_template.jinja     and the base's other files, unchanged

New ids begin after the last row of the base's embedding. Readers of tokenizer.json number what is
added later by how many entries there are, so every id before the new ones needs an entry: those
that the base leaves out get reserved ones, which no text becomes.
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from langraft.core.base_files import read_model_config
from langraft.core.errors import ArtifactError, CorpusError, ModelError
from langraft.core.files import file_sha256, read_json, write_json, write_text
from langraft.tokenizers.extended_files import (
    TOKENIZER_CONFIG_JSON,
    extended_config,
    extended_settings,
)
from langraft.tokenizers.merges import MIN_COUNT, Word, WordTable, learn_merges
from langraft.tokenizers.vocabulary import BaseVocabulary

EXTENSION_JSON = "extension.json"
_TOKENIZER_FILES = (
    "tokenizer.json",
    TOKENIZER_CONFIG_JSON,
    "special_tokens_map.json",
    "chat_template*",
)
_FORMAT = 1
_Id = Annotated[int, Field(ge=0)]
_BATCH_TEXTS = 1000
_SHOWN_CHARACTERS = 20  # of a text on each side of one that is refused
_MIN_WEIGHT = 1024  # of an occurrence, in the language with the lowest weight


@dataclass(frozen=True, slots=True, kw_only=True)
class _ExtensionFile:
    """``extension.json``; ``tokens`` pairs each new token with the ids that it replaces."""

    format: Literal[1]
    first_new_id: Annotated[int, Field(ge=1)]
    tokens: list[tuple[str, Annotated[tuple[_Id, ...], Field(min_length=1)]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """New tokens of a tokenizer.

    Attributes:
        first_new_id: Id of the first new token; the base has an embedding row for every id below.
        pieces: For each new token, the base's tokens that it replaces, in order.
        tokens: Spelling of each new token in the vocabulary.
        folder: Folder of the tokenizer; None for an extension that is only planned.
    """

    first_new_id: int
    pieces: tuple[tuple[int, ...], ...]
    tokens: tuple[str, ...] = ()
    folder: Path | None = None

    @classmethod
    def planned(cls, first_new_id: int, num_tokens: int) -> Extension:
        """Return a placeholder of this size, to count parameters before the tokens exist."""
        return cls(first_new_id=first_new_id, pieces=((0,),) * num_tokens)

    @classmethod
    def read(cls, folder: Path) -> Extension:
        """Read what ``extend_tokenizer`` wrote.

        Raises:
            ArtifactError: when the file is missing or damaged.
        """
        path = folder / EXTENSION_JSON
        advice = "It was not written by this version of langraft. Extend the tokenizer again."
        found = read_json(path, _ExtensionFile, advice=advice)
        if any(max(pieces) >= found.first_new_id for _, pieces in found.tokens):
            raise ArtifactError(
                f"{path} names pieces that are no tokens of the base, whose ids end before "
                f"{found.first_new_id}. {advice}"
            )
        return cls(
            first_new_id=found.first_new_id,
            pieces=tuple(pieces for _, pieces in found.tokens),
            tokens=tuple(token for token, _ in found.tokens),
            folder=folder,
        )


def is_extended(folder: Path) -> bool:
    """Say whether a folder holds an extended tokenizer."""
    return (folder / EXTENSION_JSON).is_file()


def extend_tokenizer(
    base: Path,
    folder: Path,
    *,
    texts: Mapping[str, Iterable[str]],
    num_new_tokens: int,
    shares: Mapping[str, float] | None = None,
    original_texts: Mapping[str, Iterable[str]] | None = None,
) -> Extension:
    """Learn tokens from text in new languages and write the base's tokenizer with them added.

    Text in which no new token occurs is tokenized exactly as before.

    Args:
        base: Folder of the base: tokenizer.json and, for the number of its embedding rows,
            config.json.
        folder: Where to write; made when missing.
        texts: Texts of each new language.
        num_new_tokens: Tokens to add; fewer are added where the text is too short for as many.
        shares: Weight of each language's text as a whole, whatever its length; left out: equal.
        original_texts: Texts of each original language, equally weighted; merges that are
            frequent in them are not learned.

    Raises:
        ModelError: when the tokenizer cannot be extended, or is extended already.
        CorpusError: when a language has no text, or the text gives no token or needs a byte that
            the base has no token for.
    """
    if is_extended(base):
        raise ModelError(
            f"{base} is extended already; a model holds one extension. Extend the tokenizer of its "
            "base with the text of all languages instead."
        )
    vocabulary = BaseVocabulary(base / "tokenizer.json")
    learner = _Learner(vocabulary, _num_embedding_rows(base, vocabulary))
    words = _count_words(vocabulary, texts, shares)
    counted = _count_words(vocabulary, original_texts or {}, may_lose_bytes=True)
    for tokens, word in counted.items():
        words.setdefault(tokens, Word(list(tokens))).original = word.weight
    learner.add_characters(words.values(), num_new_tokens)
    num_left = num_new_tokens - len(learner.pieces)
    merges = learn_merges(WordTable(words.values()), num_left, learner.merge)
    if not learner.pieces:
        raise CorpusError(
            "The text gives no new token: the base's tokenizer has a token for every word that "
            f"occurs {MIN_COUNT} times. Give more text, or leave the extension out."
        )
    folder.mkdir(parents=True, exist_ok=True)
    copy_tokenizer(base, folder)
    settings = extended_settings(base, vocabulary, learner.spelling_of, merges)
    write_text(folder / "tokenizer.json", json.dumps(settings, ensure_ascii=False, indent=1))
    write_json(folder / TOKENIZER_CONFIG_JSON, extended_config(base, vocabulary))
    record = {
        "format": _FORMAT,
        "first_new_id": learner.first_new_id,
        "base_tokenizer_sha256": file_sha256(base / "tokenizer.json"),
        "tokens": list(zip(learner.spelling_of.values(), learner.pieces.values(), strict=True)),
    }
    write_json(folder / EXTENSION_JSON, record)
    return Extension.read(folder)


def copy_tokenizer(source: Path, folder: Path, *, of_model: bool = True) -> None:
    """Copy a tokenizer's files, but not its older formats, which lack the new tokens.

    Args:
        source: Folder of the tokenizer.
        folder: Where to write.
        of_model: Copy config.json and extension.json too, which relate it to its base.
    """
    for pattern in (*_TOKENIZER_FILES, *(("config.json", EXTENSION_JSON) if of_model else ())):
        for path in source.glob(pattern):
            target = folder / path.name
            if path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            elif not (target.exists() and target.samefile(path)):
                shutil.copy(path, target)


class _Learner:
    """Assigns ids to new tokens and records which of the base's tokens they replace."""

    def __init__(self, vocabulary: BaseVocabulary, first_new_id: int) -> None:
        self._vocabulary = vocabulary
        self.first_new_id = first_new_id
        self._spellings = set[str]()
        self.spelling_of: dict[int, str] = {}
        self.pieces: dict[int, tuple[int, ...]] = {}

    def add_characters(self, words: Iterable[Word], num_tokens: int) -> None:
        """Add tokens for characters that the vocabulary writes as fallback bytes.

        Fallback bytes are never merged, so a word with such a character could not become a token.
        Changes the words in place.
        """
        if not self._vocabulary.byte_of:
            return
        weights, counts = Counter[str](), Counter[str]()
        bytes_of: dict[str, tuple[int, ...]] = {}
        missing = [(word, self._vocabulary.missing_characters(word.tokens)) for word in words]
        for word, characters in missing:
            for character, pieces in characters:
                bytes_of[character] = pieces
                weights[character] += word.weight
                counts[character] += word.count
        frequent = sorted(
            (c for c in weights if counts[c] >= MIN_COUNT), key=lambda c: (-weights[c], c)
        )
        token_of = {c: self._add(c, bytes_of[c]) for c in frequent[:num_tokens]}
        by_bytes = {bytes_of[character]: token for character, token in token_of.items()}
        for word, characters in missing:
            if any(character in token_of for character, _ in characters):
                word.tokens = _merge_bytes(word.tokens, by_bytes)

    def merge(self, left: int, right: int) -> int | None:
        """Return the new token that two tokens become, or None where they must not be merged."""
        spelling = self._spell(left) + self._spell(right)
        if spelling in self._spellings or not self._vocabulary.may_be_token(spelling):
            return None
        return self._add(spelling, (*self._base_pieces(left), *self._base_pieces(right)))

    def _add(self, spelling: str, pieces: tuple[int, ...]) -> int:
        token = self.first_new_id + len(self.pieces)
        self._spellings.add(spelling)
        self.spelling_of[token], self.pieces[token] = spelling, pieces
        return token

    def _spell(self, token: int) -> str:
        return self.spelling_of.get(token) or self._vocabulary.spelling_of[token]

    def _base_pieces(self, token: int) -> tuple[int, ...]:
        return self.pieces.get(token) or (token,)


def _merge_bytes(tokens: list[int], by_bytes: Mapping[tuple[int, ...], int]) -> list[int]:
    """Replace the byte tokens of characters by the characters' own tokens."""
    joined: list[int] = []
    at = 0
    while at < len(tokens):
        length = next((n for n in (4, 3, 2, 1) if tuple(tokens[at : at + n]) in by_bytes), 0)
        joined.append(by_bytes[tuple(tokens[at : at + length])] if length else tokens[at])
        at += length or 1
    return joined


def _num_embedding_rows(base: Path, vocabulary: BaseVocabulary) -> int:
    """Return the number of the base's embedding rows, which may be more than it has tokens."""
    path = base / "config.json"
    config = read_model_config(base) if path.is_file() else {}
    size = config.get("vocab_size") or (config.get("text_config") or {}).get("vocab_size")
    if size is not None and size < vocabulary.num_ids:
        raise ModelError(
            f"{base}: the tokenizer has ids up to {vocabulary.num_ids - 1}, the model {size} "
            "embedding rows (vocab_size in config.json). They belong to different models."
        )
    return size or vocabulary.num_ids


def _count_words(
    vocabulary: BaseVocabulary,
    texts: Mapping[str, Iterable[str]],
    shares: Mapping[str, float] | None = None,
    *,
    may_lose_bytes: bool = False,
) -> dict[tuple[int, ...], Word]:
    """Count the distinct words of all languages, weighted by their language's share.

    Args:
        vocabulary: Of the base.
        texts: Texts of each language.
        shares: Weight of each language's text as a whole; left out: equal.
        may_lose_bytes: Whether bytes are let go that the base has no token for.
    """
    shares = shares or dict.fromkeys(texts, 1.0)
    counted = {
        code: _count(vocabulary, code, found, may_lose_bytes) for code, found in texts.items()
    }
    factors = {code: shares[code] / num_bytes for code, (_, num_bytes) in counted.items()}
    least = min(factor for factor in factors.values() if factor) if any(factors.values()) else 1.0
    words: dict[tuple[int, ...], Word] = {}
    for code, (counts, _) in counted.items():
        for tokens, count in counts.items():
            word = words.setdefault(tokens, Word(list(tokens)))
            word.count += count
            word.weight += round(_MIN_WEIGHT * count * factors[code] / least)
    return words


def _count(
    vocabulary: BaseVocabulary, code: str, texts: Iterable[str], may_lose_bytes: bool
) -> tuple[Counter[tuple[int, ...]], int]:
    """Return how often each word occurs in a language, and the bytes of its text."""
    counts, num_bytes = Counter[tuple[int, ...]](), 0
    stream = iter(texts)
    while batch := list(itertools.islice(stream, _BATCH_TEXTS)):
        for text in batch:
            num_bytes += len(text.encode())
            if not may_lose_bytes:
                _refuse_lost_bytes(vocabulary, code, text)
        counts.update(vocabulary.words(batch))
    if not counts:
        raise CorpusError(f"{code}: there is no text to learn tokens from.")
    return counts, num_bytes


def _refuse_lost_bytes(vocabulary: BaseVocabulary, code: str, text: str) -> None:
    """Raise CorpusError where the base has no token for a byte of a text, and name both."""
    if not (lost := vocabulary.lost_bytes(text)):
        return
    bytes_lost = set(lost)
    at = next(at for at, c in enumerate(text) if not bytes_lost.isdisjoint(c.encode()))
    around = text[max(at - _SHOWN_CHARACTERS, 0) : at + _SHOWN_CHARACTERS]
    named = ", ".join(f"0x{byte:02X}" for byte in lost)
    raise CorpusError(
        f"{code}: the base's tokenizer has no token for the byte{'s' if len(lost) > 1 else ''} "
        f"{named}, which {around!r} needs (character U+{ord(text[at]):04X}). No new token can be "
        "built on it. Take such characters out of the text; in a recipe the filter `repair` takes "
        "out control characters."
    )
