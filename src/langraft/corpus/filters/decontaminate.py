"""Documents that hold items of a benchmark, so that scores stay scores.

After GPT-3 (arXiv:2005.14165, appendix C): a document with a run of 13 words that an evaluation
item also has is contaminated. Deviations: the whole document goes, not the stretch around the run,
and items shorter than 13 words are looked for whole, from ``min_words`` on.
"""

from __future__ import annotations

import glob
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from langraft.core.document import BrokenRecord
from langraft.core.errors import CorpusError
from langraft.corpus.filter import AbstractFilter, Dropped, Judge
from langraft.corpus.reading.lines import decoded_lines
from langraft.corpus.text_batch import Hashes, TextBatch, characters_per_word

_SIEVE_BITS = 22
_SIEVE_SHIFT = np.uint64(64 - _SIEVE_BITS)


class Decontaminate(AbstractFilter):
    """Drops documents that share a run of words with evaluation items."""

    name: Literal["decontaminate"] = Field(
        default="decontaminate", description="Documents that hold evaluation items."
    )
    paths: tuple[str, ...] = Field(
        min_length=1,
        description="Files or globs of items: .jsonl, of which every text counts, or .txt, of "
        "which every line does; also with .gz.",
    )
    words: int = Field(default=13, ge=1, description="Words in a run (GPT-3).")
    min_words: int = Field(
        default=10, ge=1, description="Words of the shortest item that is looked for, as a whole."
    )

    def start(self, language: str) -> Judge:
        """Read the items and index their runs of words.

        Raises:
            CorpusError: when a path matches nothing, or a file is no JSONL.
        """
        runs = [_Runs(number, found) for number, found in self._hashes(language).items()]

        def judge(batch: TextBatch) -> list[str | Dropped]:
            verdicts: list[str | Dropped] = list(batch.texts)
            for run in runs:
                ngrams = batch.ngrams(run.num_words)
                for place in run.find(ngrams.hashes).tolist():
                    number = int(ngrams.document[place])
                    first = int(batch.first_character_D[number])
                    here = slice(int(ngrams.start[place]) - first, int(ngrams.stop[place]) - first)
                    words = batch.texts[number][here]
                    verdicts[number] = Dropped("holds an evaluation item", words)
            return verdicts

        return judge

    def _hashes(self, language: str) -> dict[int, Hashes]:
        """Return the runs to look for, by their number of words."""
        scale = characters_per_word(language) or 1
        found: dict[int, list[Hashes]] = defaultdict(list)
        for texts in _batches(_items(self.paths)):
            batch = TextBatch(texts, language)
            found[self.words].append(batch.ngrams(self.words).hashes)
            num_words_D = batch.count_spans(batch.words) // scale
            for number in range(self.min_words, self.words):
                chosen = np.flatnonzero(num_words_D == number)
                if len(chosen):
                    short = TextBatch([texts[place] for place in chosen], language)
                    found[number].append(short.ngrams(number).hashes)
        return {number: np.unique(np.concatenate(hashes)) for number, hashes in found.items()}


class _Runs:
    """Hashes of runs of so many words, and a sieve that most of a text falls through at once."""

    def __init__(self, num_words: int, hashes: Hashes) -> None:
        self.num_words = num_words
        self._hashes = hashes
        self._sieve = np.zeros(1 << _SIEVE_BITS, dtype=bool)
        self._sieve[hashes >> _SIEVE_SHIFT] = True

    def find(self, hashes: Hashes) -> NDArray[np.int64]:
        """Return which of the hashes are among the runs."""
        maybe = np.flatnonzero(self._sieve[hashes >> _SIEVE_SHIFT])
        place = np.searchsorted(self._hashes, hashes[maybe])
        place = np.minimum(place, len(self._hashes) - 1)
        return maybe[self._hashes[place] == hashes[maybe]] if len(maybe) else maybe


def _batches(items: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for item in items:
        batch.append(item)
        if len(batch) == 4096:
            yield batch
            batch = []
    yield batch


def _items(patterns: tuple[str, ...]) -> Iterator[str]:
    for pattern in patterns:
        paths = sorted(Path(path) for path in glob.glob(pattern, recursive=True))
        if not paths:
            raise CorpusError(
                f"No file of evaluation items matches {pattern} (filter `decontaminate`, seen from "
                f"{Path.cwd()})."
            )
        for path in paths:
            yield from _texts_of(path)


def _texts_of(path: Path) -> Iterator[str]:
    is_json = ".jsonl" in path.suffixes
    for number, line in decoded_lines(str(path)):
        try:
            if isinstance(line, BrokenRecord):
                raise ValueError(line.reason)
            yield from _texts_in(json.loads(line)) if is_json else (line,)
        except ValueError as error:
            what = "invalid JSON" if isinstance(error, json.JSONDecodeError) else "a broken line"
            raise CorpusError(
                f"{path}:{number}: {what} in a file of evaluation items: {error}. Mend the file; "
                "what is not read cannot be kept out of training."
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
