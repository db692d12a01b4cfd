"""Drops documents that contain benchmark items, so that benchmark scores are valid.

After GPT-3 (arXiv:2005.14165, appendix C): a document that shares 13 consecutive words with an
evaluation item is contaminated. Deviations: the whole document is dropped, not the text around
them, and items of less than 13 words are searched for as a whole, from ``min_words`` on.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError
from langraft.corpus.filter import AbstractFilter, Judge, Rejection
from langraft.corpus.reading.addresses import StoredFile, file_kind, find_files
from langraft.corpus.reading.encodings import is_encodable
from langraft.corpus.reading.lines import decoded_lines
from langraft.corpus.text_batch import Hashes, TextBatch, characters_per_word

_KINDS = (".jsonl", ".txt")
_BITMAP_BITS = 22
_BITMAP_SHIFT = np.uint64(64 - _BITMAP_BITS)


class Decontaminate(AbstractFilter):
    """Drops documents that share an n-gram of words with evaluation items."""

    name: Literal["decontaminate"] = Field(
        default="decontaminate", description="Documents that hold evaluation items."
    )
    paths: tuple[str, ...] = Field(
        min_length=1,
        description="Files, folders or globs of items: .jsonl, of which every text is an item, or "
        ".txt, of which every line is; also with .gz or .zst.",
    )
    words: int = Field(default=13, ge=1, le=1000, description="Words of an n-gram (GPT-3).")
    min_words: int = Field(
        default=10,
        ge=1,
        le=10**6,
        description="Words of the shortest item that is searched for, as a whole.",
    )

    def files(self, languages: Sequence[str]) -> list[StoredFile]:
        """Return the files of evaluation items, the same for every language."""
        del languages
        return list(_files(self.paths))

    def make_judge(self, language: str) -> Judge:
        """Read the items and index their n-grams.

        Raises:
            CorpusError: when a path matches nothing, or a file is of another kind or damaged.
        """
        indexes = [_NgramIndex(number, found) for number, found in self._hashes(language).items()]

        def judge(batch: TextBatch) -> list[str | Rejection]:
            verdicts: list[str | Rejection] = list(batch.texts)
            for index in indexes:
                ngrams = batch.ngrams(index.num_words)
                for place in index.find(ngrams.hashes).tolist():
                    number = int(ngrams.document[place])
                    first = int(batch.first_character_D[number])
                    here = slice(int(ngrams.start[place]) - first, int(ngrams.stop[place]) - first)
                    words = batch.texts[number][here]
                    verdicts[number] = Rejection("holds an evaluation item", words)
            return verdicts

        return judge

    def _hashes(self, language: str) -> dict[int, Hashes]:
        """Return the hashes of the n-grams to search for, by n."""
        scale = characters_per_word(language) or 1
        found: dict[int, list[Hashes]] = defaultdict(list)
        items = _items(self.paths)
        for texts in iter(lambda: list(itertools.islice(items, 4096)), []):
            batch = TextBatch(texts, language)
            found[self.words].append(batch.ngrams(self.words).hashes)
            num_words_D = batch.count_spans(batch.words) // scale
            for number in range(self.min_words, self.words):
                chosen = np.flatnonzero(num_words_D == number)
                if len(chosen):
                    short = TextBatch([texts[place] for place in chosen], language)
                    found[number].append(short.ngrams(number).hashes)
        return {number: np.unique(np.concatenate(hashes)) for number, hashes in found.items()}


class _NgramIndex:
    """Hashes of n-grams, with a bitmap of their first bits that excludes most others fast."""

    def __init__(self, num_words: int, hashes: Hashes) -> None:
        self.num_words = num_words
        self._hashes = hashes
        self._bitmap = np.zeros(1 << _BITMAP_BITS, dtype=bool)
        self._bitmap[hashes >> _BITMAP_SHIFT] = True

    def find(self, hashes: Hashes) -> NDArray[np.int64]:
        """Return the positions of the hashes that are in the index."""
        maybe = np.flatnonzero(self._bitmap[hashes >> _BITMAP_SHIFT])
        place = np.searchsorted(self._hashes, hashes[maybe])
        place = np.minimum(place, len(self._hashes) - 1)
        return maybe[self._hashes[place] == hashes[maybe]] if len(maybe) else maybe


def _files(patterns: tuple[str, ...]) -> Iterator[StoredFile]:
    for pattern in patterns:
        by, noun = "filter `decontaminate`", "file of evaluation items"
        yield from find_files(pattern, _KINDS, by, noun)


def _items(patterns: tuple[str, ...]) -> Iterator[str]:
    for file in _files(patterns):
        yield from _texts_of(file.address)


def _texts_of(address: str) -> Iterator[str]:
    is_json = file_kind(address, _KINDS) == ".jsonl"
    for number, line in decoded_lines(address):
        try:
            if isinstance(line, BrokenRecord):
                raise ValueError(line.reason)
            texts = list(_texts_in(json.loads(line))) if is_json and line.strip() else [line]
            if not all(map(is_encodable, texts)):
                raise ValueError("half a surrogate pair in a text")
            yield from texts
        except (ValueError, RecursionError) as error:
            what = "a broken line" if isinstance(line, BrokenRecord) else "invalid JSON"
            raise CorpusError(
                f"{address}:{number}: {what} in a file of evaluation items: {error}. Repair the "
                "file; an item that is not read cannot be kept out of training."
            ) from None


def _texts_in(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, whatever its key."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts_in(inner)
