"""Adding tokens for new languages to a base's tokenizer, and what is known of them afterwards.

tokenizer.json        the base's, with more entries and more merges after its own
extension.json        the new tokens, each with the base's tokens that it stands for
tokenizer_config.json and the rest of the base's files, as they were
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langraft.core.artifacts import read_json, write_json, write_text
from langraft.core.errors import ArtifactError, CorpusError, ModelError
from langraft.corpus.vocabulary.base import BaseVocabulary
from langraft.corpus.vocabulary.merges import Merge, MergeLimits, Word, WordTable, learn_merges

EXTENSION_JSON = "extension.json"
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template*",
)
_FORMAT = 1
_BATCH_TEXTS = 1000
_WEIGHT_UNIT = 1024  # weight of an occurrence in the language whose words count least


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """New tokens of a tokenizer.

    Attributes:
        first_new_id: Id of the first; the base has an embedding row for every id below.
        pieces: Of each new token, the base's tokens that it stands for, in order.
        tokens: How each is spelled in the vocabulary.
        folder: Of the tokenizer; None for one that is only planned.
    """

    first_new_id: int
    pieces: tuple[tuple[int, ...], ...]
    tokens: tuple[str, ...] = ()
    folder: Path | None = None

    @classmethod
    def planned(cls, first_new_id: int, num_tokens: int) -> Extension:
        """Return one of this size, for counting a model before there are tokens."""
        return cls(first_new_id=first_new_id, pieces=((0,),) * num_tokens)

    @classmethod
    def read(cls, folder: Path) -> Extension:
        """Read what ``extend_tokenizer`` wrote.

        Raises:
            ArtifactError: when it is missing or damaged.
        """
        found = read_json(folder / EXTENSION_JSON)
        try:
            if found["format"] != _FORMAT:
                raise ValueError(f"format {found['format']!r}")
            return cls(
                first_new_id=found["first_new_id"],
                pieces=tuple(tuple(map(int, pieces)) for _, pieces in found["tokens"]),
                tokens=tuple(token for token, _ in found["tokens"]),
                folder=folder,
            )
        except (KeyError, ValueError, TypeError) as error:
            raise ArtifactError(
                f"{folder / EXTENSION_JSON} is no extension of this version of langraft ({error}). "
                "Extend the tokenizer again."
            ) from error


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
    limits: MergeLimits | None = None,
) -> Extension:
    """Learn tokens from text in new languages and write the base's tokenizer with them.

    Text in which no new token occurs is cut exactly as before.

    Args:
        base: Folder of the base: tokenizer.json and, for the number of its embedding rows,
            config.json.
        folder: Where to write; made when missing.
        texts: Of each new language.
        num_new_tokens: Entries to add; there are fewer where the text does not give so many.
        shares: What each language's text counts as a whole, whatever there is of it; left out:
            all the same.
        original_texts: Of each original language, which count the same; merges that are frequent
            there are not learned.
        limits: Which merges are not learned.

    Raises:
        ModelError: when the tokenizer cannot be extended, or is extended already.
        CorpusError: when a language has no text, or the text gives no token.
    """
    if is_extended(base):
        raise ModelError(
            f"{base} is extended already; a model holds one extension. Extend the tokenizer of its "
            "base with the text of all languages instead."
        )
    vocabulary = BaseVocabulary(base / "tokenizer.json")
    limits = limits or MergeLimits()
    first_new_id = _num_rows(base, vocabulary)
    learner = _Learner(vocabulary, first_new_id)
    words = _count_words(vocabulary, texts, shares or dict.fromkeys(texts, 1.0))
    for original, count in _count_original(vocabulary, original_texts or {}).items():
        words.setdefault(original, Word(list(original))).original = count
    learner.add_characters(words.values(), num_new_tokens, limits)
    num_left = num_new_tokens - len(learner.pieces)
    merges = learn_merges(WordTable(words.values()), num_left, learner.join, limits)
    if not learner.pieces:
        raise CorpusError(
            "The text gives no new token: the base's tokenizer has a token for every word that "
            f"occurs {limits.least_count} times. Give more text, or leave the extension out."
        )
    folder.mkdir(parents=True, exist_ok=True)
    copy_tokenizer(base, folder)
    settings = _extended_settings(vocabulary, learner, merges)
    write_text(folder / "tokenizer.json", json.dumps(settings, ensure_ascii=False, indent=1))
    tokens = list(zip(learner.spelled.values(), learner.pieces.values(), strict=True))
    base_sha256 = hashlib.sha256((base / "tokenizer.json").read_bytes()).hexdigest()
    write_json(
        folder / EXTENSION_JSON,
        {
            "format": _FORMAT,
            "first_new_id": first_new_id,
            "base_tokenizer_sha256": base_sha256,
            "tokens": tokens,
        },
    )
    return Extension.read(folder)


def copy_tokenizer(source: Path, folder: Path, *, of_model: bool = True) -> None:
    """Copy a tokenizer's files; older forms of the same tokenizer, without new tokens, stay back.

    Args:
        source: Folder of the tokenizer.
        folder: Where to write.
        of_model: Copy also what says how it belongs to its base: config and extension.
    """
    for pattern in (*_TOKENIZER_FILES, *(("config.json", EXTENSION_JSON) if of_model else ())):
        for path in source.glob(pattern):
            target = folder / path.name
            if path.is_dir():
                shutil.copytree(path, target, dirs_exist_ok=True)
            elif not (target.exists() and target.samefile(path)):
                shutil.copy(path, target)


class _Learner:
    """Gives new tokens their ids and remembers what they stand for."""

    def __init__(self, vocabulary: BaseVocabulary, first_new_id: int) -> None:
        self._vocabulary = vocabulary
        self._first = first_new_id
        self._spellings = set[str]()
        self.spelled: dict[int, str] = {}
        self.pieces: dict[int, tuple[int, ...]] = {}

    def add_characters(self, words: Iterable[Word], num_tokens: int, limits: MergeLimits) -> None:
        """Give the characters that the vocabulary writes as bytes tokens of their own, in place.

        Bytes of fallback are never joined, so without these no word could become a token.
        """
        if not self._vocabulary.byte_of:
            return
        words = list(words)
        weights, counts = Counter[str](), Counter[str]()
        bytes_of: dict[str, tuple[int, ...]] = {}
        lacking = [(word, self._vocabulary.lacking(word.tokens)) for word in words]
        for word, characters in lacking:
            for character, pieces in characters:
                bytes_of[character] = pieces
                weights[character] += word.weight
                counts[character] += word.count
        frequent = sorted(
            (c for c in weights if counts[c] >= limits.least_count), key=lambda c: (-weights[c], c)
        )
        token_of = {c: self._add(c, bytes_of[c]) for c in frequent[:num_tokens]}
        by_bytes = {bytes_of[character]: token for character, token in token_of.items()}
        for word, characters in lacking:
            if any(character in token_of for character, _ in characters):
                word.tokens = _joined_bytes(word.tokens, by_bytes)

    def join(self, left: int, right: int) -> int | None:
        """Return the new token of two tokens, or None where they must not be joined."""
        spelling = self._spell(left) + self._spell(right)
        if spelling in self._spellings or not self._vocabulary.may_be_token(spelling):
            return None
        return self._add(spelling, (*self._old_pieces(left), *self._old_pieces(right)))

    def _add(self, spelling: str, pieces: tuple[int, ...]) -> int:
        token = self._first + len(self.pieces)
        self._spellings.add(spelling)
        self.spelled[token], self.pieces[token] = spelling, pieces
        return token

    def _spell(self, token: int) -> str:
        return self.spelled.get(token) or self._vocabulary.spelled[token]

    def _old_pieces(self, token: int) -> tuple[int, ...]:
        return self.pieces.get(token) or (token,)


def _joined_bytes(tokens: list[int], by_bytes: Mapping[tuple[int, ...], int]) -> list[int]:
    """Put the tokens of characters in the place of their bytes."""
    joined: list[int] = []
    at = 0
    while at < len(tokens):
        length = next((n for n in (4, 3, 2, 1) if tuple(tokens[at : at + n]) in by_bytes), 0)
        joined.append(by_bytes[tuple(tokens[at : at + length])] if length else tokens[at])
        at += length or 1
    return joined


def _num_rows(base: Path, vocabulary: BaseVocabulary) -> int:
    """Return the number of the base's embedding rows, which may be more than it has tokens."""
    path = base / "config.json"
    config: dict[str, Any] = read_json(path) if path.is_file() else {}
    size = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    if size is not None and size < vocabulary.num_ids:
        raise ModelError(
            f"{base}: the tokenizer has ids up to {vocabulary.num_ids - 1}, the model {size} "
            "embedding rows (vocab_size in config.json). They do not belong together."
        )
    return size or vocabulary.num_ids


def _count_words(
    vocabulary: BaseVocabulary, texts: Mapping[str, Iterable[str]], shares: Mapping[str, float]
) -> dict[tuple[int, ...], Word]:
    """Count the distinct words of all languages, each weighted as its language is to count."""
    counted = {code: _count(vocabulary, code, found) for code, found in texts.items()}
    factors = {code: shares[code] / num_bytes for code, (_, num_bytes) in counted.items()}
    least = min(factor for factor in factors.values() if factor) if any(factors.values()) else 1.0
    words: dict[tuple[int, ...], Word] = {}
    for code, (counts, _) in counted.items():
        for tokens, count in counts.items():
            word = words.setdefault(tokens, Word(list(tokens)))
            word.count += count
            word.weight += round(_WEIGHT_UNIT * count * factors[code] / least)
    return words


def _count_original(
    vocabulary: BaseVocabulary, texts: Mapping[str, Iterable[str]]
) -> dict[tuple[int, ...], int]:
    counted = _count_words(vocabulary, texts, dict.fromkeys(texts, 1.0))
    return {tokens: word.weight for tokens, word in counted.items()}


def _count(
    vocabulary: BaseVocabulary, code: str, texts: Iterable[str]
) -> tuple[Counter[tuple[int, ...]], int]:
    """Return how often each word occurs in a language, and the bytes of its text."""
    counts, num_bytes = Counter[tuple[int, ...]](), 0
    stream = iter(texts)
    while batch := list(itertools.islice(stream, _BATCH_TEXTS)):
        num_bytes += sum(len(text.encode()) for text in batch)
        counts.update(vocabulary.words(batch))
    if not counts:
        raise CorpusError(f"{code}: there is no text to learn tokens from.")
    return counts, num_bytes


def _extended_settings(
    vocabulary: BaseVocabulary, learner: _Learner, merges: list[Merge]
) -> dict[str, Any]:
    """Return the base's ``tokenizer.json`` with the new entries and merges."""
    settings = vocabulary.settings
    model: dict[str, Any] = settings["model"]
    # Ids of added tokens that the vocabulary lacks are counted from its size when it is read.
    known = model["vocab"] | {token: number for number, token in vocabulary.added.items()}
    learned = {spelling: token for token, spelling in learner.spelled.items()}
    spelled = vocabulary.spelled | learner.spelled
    pairs = [[spelled[merge.left], spelled[merge.right]] for merge in merges]
    is_joined = any(isinstance(merge, str) for merge in model["merges"][:1])
    added = [" ".join(pair) for pair in pairs] if is_joined else pairs
    vocab = dict(sorted((known | learned).items(), key=lambda entry: entry[1]))
    return settings | {"model": model | {"vocab": vocab, "merges": [*model["merges"], *added]}}
