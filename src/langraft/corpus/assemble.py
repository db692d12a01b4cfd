"""One stream from its parts: copies out, some text held out, budgets kept, shards written."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from langraft.core.artifacts import explain_disk_errors, read_json, write_json
from langraft.core.corpus import Deduplication
from langraft.corpus.counts import EXAMPLES, Drops, Example, PartCounts, excerpt
from langraft.corpus.duplicates import find_copies
from langraft.corpus.part import HOLD_OUT, TRAIN
from langraft.corpus.shards import ShardWriter, TokenShards
from langraft.corpus.tokenizer import tokenizer_in

_EXCERPT_TOKENS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PartOf:
    """A finished part of a stream.

    Attributes:
        label: Of its source.
        folder: Where it is.
    """

    label: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembleTask:
    """Everything a worker must know to decide on a stream and write it.

    Attributes:
        stream: Language, or pair.
        parts: In order: the first of several copies stays.
        max_tokens: By label: tokens to train on at most.
        deduplicate: Which copies go, or None for those of held-out text alone.
        tokenizer: Folder of the base's.
        heldout_tokens: As many are held out, where there are.
        folder: Of the corpus; the stream gets a folder in it.
        result: JSON file that says it is done, and the counts.
    """

    stream: str
    parts: tuple[PartOf, ...]
    max_tokens: dict[str, int]
    deduplicate: Deduplication | None
    tokenizer: Path
    heldout_tokens: int
    folder: Path
    result: Path

    @property
    def num_bytes(self) -> int:
        """Size of the tokens, for who shares out the work."""
        return sum(
            p.stat().st_size for each in self.parts for p in each.folder.glob("*.tokens.npy")
        )

    @property
    def name(self) -> str:
        """What the work is called in messages."""
        return f"{self.stream}, all parts"

    def __call__(self) -> None:
        """Do the work unless it is done.

        Raises:
            ArtifactError: when the disk is full.
        """
        if self.result.is_file():
            return
        with explain_disk_errors(self.folder):
            shutil.rmtree(self.folder / self.stream, ignore_errors=True)
            (self.folder / self.stream).mkdir(parents=True)
            counts = _Stream(self).write()
            self.result.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.result, counts)


@dataclass
class _OfSource:
    """What became of one source's documents."""

    writer: ShardWriter
    num_bytes: int = 0
    num_over_budget: int = 0
    drops: Drops = field(default_factory=Drops)


class _Stream:
    """Walks over a stream's documents in order and decides on each."""

    def __init__(self, task: AssembleTask) -> None:
        self._task = task
        self._tokenizer = tokenizer_in(task.tokenizer)
        self._folder = task.folder / task.stream
        self._folders = [part.folder for part in task.parts]
        self._sources: dict[str, _OfSource] = {}
        self._heldout_hashes = set[int]()
        self._heldout: list[tuple[str, str]] = []  # (id, text)
        self._heldout_tokens = self._heldout_bytes = self._num_kept_out = 0

    def write(self) -> dict[str, Any]:
        """Write the stream's shards and held-out text; returns its counts."""
        exact_D, near_D = self._copies()
        with contextlib.ExitStack() as writers:
            number = 0
            for part in self._task.parts:
                source = self._source(part.label, writers)
                for document in _documents(part.folder):
                    original = exact_D[number] if exact_D[number] >= 0 else near_D[number]
                    if original >= 0:
                        reason = "exact copy" if exact_D[number] >= 0 else "near-duplicate"
                        self._drop(source, document, reason, int(original))
                    else:
                        self._place(source, part.label, document)
                    number += 1
        if "+" not in self._task.stream:
            self._write_heldout()
        return self._counts()

    def _copies(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        if self._task.deduplicate is not None:
            return find_copies(self._folders, self._task.deduplicate)
        nothing = np.full(sum(_num_documents(folder) for folder in self._folders), -1)
        return nothing, nothing

    def _source(self, label: str, writers: contextlib.ExitStack) -> _OfSource:
        if label not in self._sources:
            writer = ShardWriter(self._folder / label, self._tokenizer.vocab_size)
            self._sources[label] = _OfSource(writers.enter_context(contextlib.closing(writer)))
        return self._sources[label]

    def _place(self, source: _OfSource, label: str, document: _Stored) -> None:
        if document.digest in self._heldout_hashes:
            self._num_kept_out += 1  # a copy of held-out text is never trained on
        elif document.text is not None and self._heldout_tokens < self._task.heldout_tokens:
            self._heldout_hashes.add(document.digest)
            self._heldout.append((document.id, document.text))
            self._heldout_tokens += len(document.tokens)
            self._heldout_bytes += document.num_bytes
        elif document.mark == HOLD_OUT:
            self._num_kept_out += 1  # over the budget: still never trained on
        elif source.writer.num_tokens >= self._task.max_tokens.get(label, 2**62):
            source.num_over_budget += 1
        else:
            source.writer.add(document.tokens, document.id, document.languages)
            source.num_bytes += document.num_bytes

    def _drop(self, source: _OfSource, document: _Stored, reason: str, original: int) -> None:
        example = Example("", "", "")
        if source.drops.documents[reason] < EXAMPLES:
            of_original = self._stored(original)
            detail = f"{of_original.id}: {self._excerpt(of_original)}"
            example = Example(document.id, detail, self._excerpt(document))
        source.drops.add(reason, document.num_bytes, example)

    def _excerpt(self, document: _Stored) -> str:
        return excerpt(self._tokenizer.decode(document.tokens[:_EXCERPT_TOKENS]))

    def _stored(self, number: int) -> _Stored:
        """Return a document by its number in the stream."""
        for folder in self._folders:
            length = _num_documents(folder)
            if number < length:
                return next(_documents(folder, number))
            number -= length
        raise IndexError(number)

    def _write_heldout(self) -> None:
        with (self._folder / "heldout.jsonl").open("w", encoding="utf-8") as file:
            for name, text in self._heldout:
                record = {"id": name, "text": text}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def _counts(self) -> dict[str, Any]:
        by_label = {
            label: self._counts_of(label, source) for label, source in self._sources.items()
        }
        kinds = ("documents", "tokens", "bytes", "read_documents", "read_bytes")
        broken, dropped = Counter[str](), Counter[str]()
        for found in by_label.values():
            broken.update(found["broken"])
            dropped.update({why: count["documents"] for why, count in found["dropped"].items()})
        return {
            **{kind: sum(found[kind] for found in by_label.values()) for kind in kinds},
            "heldout_documents": len(self._heldout),
            "heldout_tokens": self._heldout_tokens,
            "heldout_bytes": self._heldout_bytes,
            "kept_out_of_training": self._num_kept_out,
            "dropped": dict(dropped.most_common()),
            "broken": dict(broken),
            "broken_places": [p for found in by_label.values() for p in found["broken_places"]],
            "sources": by_label,
        }

    def _counts_of(self, label: str, source: _OfSource) -> dict[str, Any]:
        folders = [part.folder for part in self._task.parts if part.label == label]
        read, *others = [PartCounts.from_json(read_json(f / "counts.json")) for f in folders]
        for other in others:
            read.merge(other)
        read.drops.merge(source.drops)
        return {
            "documents": source.writer.num_documents,
            "tokens": source.writer.num_tokens,
            "bytes": source.num_bytes,
            "read_documents": read.read_documents,
            "read_bytes": read.read_bytes,
            "over_budget": source.num_over_budget,
            "dropped": read.drops.to_json(),
            "broken": dict(read.broken.by_reason),
            "broken_places": read.broken.places,
        }


@dataclass(slots=True)
class _Stored:
    """A document of a finished part."""

    id: str
    tokens: NDArray[Any]
    languages: NDArray[Any] | None
    digest: int
    num_bytes: int
    mark: int
    text: str | None  # where it may be held out


def _num_documents(folder: Path) -> int:
    return len(np.load(folder / "marks.npy", mmap_mode="r"))


def _documents(folder: Path, first: int = 0) -> Iterator[_Stored]:
    """Yield the documents of a part from one of them on."""
    hashes, sizes, marks = (np.load(folder / f"{n}.npy") for n in ("hashes", "sizes", "marks"))
    if not len(marks):
        return
    shards = TokenShards(folder)
    texts = _candidates(folder, first)
    next_text = next(texts, None)
    for number in range(first, len(marks)):
        document = shards.document(number)
        text = None
        if marks[number] != TRAIN and next_text is not None and next_text[0] == number:
            text, next_text = next_text[1], next(texts, None)
        yield _Stored(
            id=document.id,
            tokens=document.tokens,
            languages=document.languages,
            digest=int(hashes[number]),
            num_bytes=int(sizes[number]),
            mark=int(marks[number]),
            text=text,
        )


def _candidates(folder: Path, first: int) -> Iterator[tuple[int, str]]:
    with (folder / "candidates.jsonl").open(encoding="utf-8") as file:
        for line in file:
            number, text = json.loads(line)
            if number >= first:
                yield number, text
