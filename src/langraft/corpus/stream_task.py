"""The task that writes one stream from its finished parts.

It drops copies, holds text out, keeps to the budgets of tokens and writes the shards.
"""

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

from langraft.core.files import read_json_lines, write_json
from langraft.core.settings.corpus import Deduplication
from langraft.core.system_errors import explain_disk_errors
from langraft.corpus.counts import MAX_EXAMPLES, Drops, Example, PartCounts, excerpt
from langraft.corpus.dedup.duplicates import find_duplicates
from langraft.corpus.part_task import HOLD_OUT
from langraft.corpus.storage.shards import ShardWriter, StoredDocument, TokenShards
from langraft.tokenizers.document_tokenizer import cached_tokenizer

_EXCERPT_TOKENS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedPart:
    """A finished part of a stream: its folder, and the label of its source."""

    label: str
    folder: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCounts:
    """What one stream holds, as the corpus step counts it; see ``build_corpus``."""

    documents: int
    tokens: int
    bytes: int
    read_documents: int
    read_bytes: int
    heldout_documents: int
    heldout_tokens: int
    heldout_bytes: int
    kept_out_of_training: int
    dropped: dict[str, int]
    broken: dict[str, int]
    broken_places: list[str]
    sources: dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamTask:
    """Writes one stream; picklable, and does nothing if the result exists.

    Attributes:
        stream: Language, or pair.
        parts: Finished parts in order: the first of several copies stays.
        max_tokens: Most tokens to train on, by label of the source; absent for no limit.
        deduplicate: Settings of deduplication; None drops only copies of held-out text.
        tokenizer: Folder of the base's tokenizer.
        heldout_tokens: Tokens to hold out, if there are as many.
        folder: Folder of the corpus; the stream gets a folder in it.
        result: JSON file of the counts, written last.
    """

    stream: str
    parts: tuple[FinishedPart, ...]
    max_tokens: dict[str, int]
    deduplicate: Deduplication | None
    tokenizer: Path
    heldout_tokens: int
    folder: Path
    result: Path

    @property
    def num_bytes(self) -> int:
        """Size of the tokens of all parts."""
        return sum(
            p.stat().st_size for each in self.parts for p in each.folder.glob("*.tokens.npy")
        )

    @property
    def name(self) -> str:
        """Name of the stream for messages."""
        return f"{self.stream}, all parts"

    @property
    def is_finished(self) -> bool:
        """Whether the stream has been written."""
        return self.result.is_file()

    def __call__(self) -> None:
        """Write the stream unless it is finished.

        Raises:
            ArtifactError: when the disk is full.
        """
        if self.is_finished:
            return
        with explain_disk_errors(self.folder):
            shutil.rmtree(self.folder / self.stream, ignore_errors=True)
            (self.folder / self.stream).mkdir(parents=True)
            counts = _StreamWriter(self).write()
            self.result.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.result, counts)


@dataclass
class _SourceOutput:
    """What was written and dropped of one source's documents."""

    writer: ShardWriter
    num_bytes: int = 0
    num_over_budget: int = 0
    drops: Drops = field(default_factory=Drops)


class _StreamWriter:
    """Decides on each document of a stream in order and writes those that stay."""

    def __init__(self, task: StreamTask) -> None:
        self._task = task
        self._tokenizer = cached_tokenizer(task.tokenizer)
        self._folder = task.folder / task.stream
        self._sources: dict[str, _SourceOutput] = {}
        self._heldout_hashes = set[int]()
        self._heldout: list[tuple[str, str]] = []  # (id, text)
        self._heldout_tokens = self._heldout_bytes = self._num_kept_out = 0

    def write(self) -> dict[str, Any]:
        """Write the stream's shards and held-out text; returns its counts."""
        exact_D, near_D = self._find_duplicates()
        with contextlib.ExitStack() as writers:
            number = 0
            for part in self._task.parts:
                source = self._source(part.label, writers)
                for document in _documents(part.folder):
                    if exact_D[number] >= 0:
                        self._drop(source, document, "exact copy", int(exact_D[number]))
                    elif near_D[number] >= 0:
                        self._drop(source, document, "near-duplicate", int(near_D[number]))
                    else:
                        self._keep(source, part.label, document)
                    number += 1
        if "+" not in self._task.stream:
            self._write_heldout()
        return self._counts()

    def _find_duplicates(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        folders = [part.folder for part in self._task.parts]
        if self._task.deduplicate is not None:
            return find_duplicates(folders, self._task.deduplicate)
        none = np.full(sum(map(_num_documents, folders)), -1)
        return none, none

    def _source(self, label: str, writers: contextlib.ExitStack) -> _SourceOutput:
        if label not in self._sources:
            writer = ShardWriter(self._folder / label, self._tokenizer.vocab_size)
            self._sources[label] = _SourceOutput(writers.enter_context(contextlib.closing(writer)))
        return self._sources[label]

    def _keep(self, source: _SourceOutput, label: str, document: _PartDocument) -> None:
        """Hold a document out or write it for training, unless a budget is met."""
        tokens = document.stored.tokens
        if document.digest in self._heldout_hashes:
            self._num_kept_out += 1  # a copy of held-out text is never trained on
        elif document.text is not None and self._heldout_tokens < self._task.heldout_tokens:
            self._heldout_hashes.add(document.digest)
            self._heldout.append((document.stored.id, document.text))
            self._heldout_tokens += len(tokens)
            self._heldout_bytes += document.num_bytes
        elif document.mark == HOLD_OUT:
            self._num_kept_out += 1  # beyond the budget, but still never trained on
        elif source.writer.num_tokens >= self._task.max_tokens.get(label, 2**62):
            source.num_over_budget += 1
        else:
            source.writer.add(tokens, document.stored.id, document.stored.languages)
            source.num_bytes += document.num_bytes

    def _drop(
        self, source: _SourceOutput, document: _PartDocument, reason: str, original: int
    ) -> None:
        example = Example("", "", "")
        if source.drops.documents[reason] < MAX_EXAMPLES:
            kept = self._document(original)
            detail = f"{kept.id}: {self._excerpt(kept)}"
            example = Example(document.stored.id, detail, self._excerpt(document.stored))
        source.drops.add(reason, document.num_bytes, example)

    def _excerpt(self, document: StoredDocument) -> str:
        return excerpt(self._tokenizer.decode(document.tokens[:_EXCERPT_TOKENS]))

    def _document(self, number: int) -> StoredDocument:
        """Return a document by its number in the stream."""
        for part in self._task.parts:
            length = _num_documents(part.folder)
            if number < length:
                return TokenShards(part.folder).document(number)
            number -= length
        raise IndexError(number)

    def _write_heldout(self) -> None:
        with (self._folder / "heldout.jsonl").open("w", encoding="utf-8") as file:
            for name, text in self._heldout:
                record = {"id": name, "text": text}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def _counts(self) -> dict[str, Any]:
        by_label = {label: self._source_counts(label) for label in self._sources}
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

    def _source_counts(self, label: str) -> dict[str, Any]:
        source = self._sources[label]
        folders = [part.folder for part in self._task.parts if part.label == label]
        read, *others = [PartCounts.read(f) for f in folders]
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
class _PartDocument:
    """A document of a finished part; ``text`` is None where it may not be held out."""

    stored: StoredDocument
    digest: int
    num_bytes: int
    mark: int
    text: str | None


def _num_documents(folder: Path) -> int:
    return len(np.load(folder / "marks.npy", mmap_mode="r"))


def _documents(folder: Path) -> Iterator[_PartDocument]:
    """Yield the documents of a finished part."""
    hashes, sizes, marks = (np.load(folder / f"{n}.npy") for n in ("hashes", "sizes", "marks"))
    if not len(marks):
        return
    shards = TokenShards(folder)
    candidates = read_json_lines(folder / "candidates.jsonl", tuple[int, str])
    candidate, text = next(candidates, (-1, ""))
    for number in range(len(marks)):
        is_candidate = number == candidate
        yield _PartDocument(
            stored=shards.document(number),
            digest=int(hashes[number]),
            num_bytes=int(sizes[number]),
            mark=int(marks[number]),
            text=text if is_candidate else None,
        )
        if is_candidate:
            candidate, text = next(candidates, (-1, ""))
