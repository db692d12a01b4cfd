"""Fertility: how many tokens a tokenizer needs for a word, a byte and a sentence of a language."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from langraft.tokenizers.document_tokenizer import load_tokenizer_json
from langraft.tokenizers.vocabulary import text_of_bytes
from tokenizers import Tokenizer, pre_tokenizers

# Languages written without spaces between words: each character counts as a word.
_WITHOUT_SPACES = ("bo", "ja", "km", "lo", "my", "th", "yue", "zh")
_FALLBACK_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fertility:
    """One language's text under one tokenizer.

    Attributes:
        num_tokens: Tokens of the whole text.
        num_words: Words between spaces; characters in languages written without spaces.
        num_bytes: Bytes of the text in UTF-8.
        num_partial: Tokens that are only a part of a character.
        parity: Tokens for each token of the reference language on the same sentences (the
            premium of Petrov et al., arXiv:2305.15425, section 3); None without aligned text.
    """

    num_tokens: int
    num_words: int
    num_bytes: int
    num_partial: int
    parity: float | None

    @property
    def tokens_per_word(self) -> float:
        """Fertility (Rust et al., arXiv:2012.15613), at best 1."""
        return self.num_tokens / max(1, self.num_words)

    @property
    def bytes_per_token(self) -> float:
        """Bytes of text in a token; a character of Greek has 2 bytes, of Georgian or Hindi 3."""
        return self.num_bytes / max(1, self.num_tokens)

    @property
    def partial_share(self) -> float:
        """Share of tokens that are only a part of a character, 0..1."""
        return self.num_partial / max(1, self.num_tokens)

    def to_json(self) -> dict[str, Any]:
        """Return counts and ratios as plain data."""
        names = ("tokens_per_word", "bytes_per_token", "partial_share")
        return asdict(self) | {name: round(getattr(self, name), 4) for name in names}


def measure_tokenizer(
    folder: Path, texts: Mapping[str, Sequence[str | None]], reference: str | None = None
) -> dict[str, Fertility]:
    """Measure a tokenizer on text.

    Args:
        folder: Holds a tokenizer.json of any kind.
        texts: By language. With a reference they are aligned: the n-th texts are translations of
            each other, None where a language has no translation.
        reference: Language that parity is relative to, on the sentences that both have.

    Raises:
        ModelError: when tokenizer.json is missing or damaged.
    """
    tokenizer = load_tokenizer_json(folder / "tokenizer.json")
    partial = _partial_tokens(tokenizer)
    counts: dict[str, list[int | None]] = {}
    measured: dict[str, Fertility] = {}
    for code in sorted(texts, key=lambda code: code != reference):  # the reference first
        found = [text for text in texts[code] if text is not None]
        ids = [e.ids for e in tokenizer.encode_batch_fast(found, add_special_tokens=False)]
        sizes = iter([len(of_text) for of_text in ids])
        counts[code] = [None if text is None else next(sizes) for text in texts[code]]
        measured[code] = Fertility(
            num_tokens=sum(map(len, ids)),
            num_words=sum(_num_words(text, code) for text in found),
            num_bytes=sum(len(text.encode()) for text in found),
            num_partial=sum(token in partial for of_text in ids for token in of_text),
            parity=_parity(counts[code], counts[reference]) if reference else None,
        )
    return {code: measured[code] for code in texts}


def _num_words(text: str, code: str) -> int:
    if code.partition("_")[0] in _WITHOUT_SPACES:
        return sum(not character.isspace() for character in text)
    return len(text.split())


def _parity(counts: Sequence[int | None], reference: Sequence[int | None]) -> float | None:
    pairs = [(a, b) for a, b in zip(counts, reference, strict=True) if a is not None and b]
    return sum(a for a, _ in pairs) / sum(b for _, b in pairs) if pairs else None


def _partial_tokens(tokenizer: Tokenizer) -> set[int]:
    """Return the ids of tokens that are only a part of a character."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    if all(character in vocabulary for character in pre_tokenizers.ByteLevel.alphabet()):
        return {number for token, number in vocabulary.items() if not text_of_bytes(token)}
    return {n for token, n in vocabulary.items() if _FALLBACK_BYTE.fullmatch(token)}
