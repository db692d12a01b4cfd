"""One part of a source: read, cleaned, tokenized and measured by one worker.

A finished part is a folder of shards (``shards.py``) and of what is decided on once all parts of a
stream are there (``assemble.py``):

    hashes.npy       of each document's text, to find exact copies
    sizes.npy        its bytes
    marks.npy        TRAIN, MAY_HOLD_OUT or HOLD_OUT
    bands.npy, signatures.npy    for near-duplicates, where they are looked for
    candidates.jsonl             the texts that may be held out, until there are enough
    counts.json      what came in, what left and why
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import shutil
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from langraft.core.artifacts import explain_disk_errors, write_json
from langraft.core.corpus import Deduplication
from langraft.core.document import Document
from langraft.core.streams import languages_of
from langraft.corpus.arrays import ArrayFile
from langraft.corpus.cleaning import CleanBatch, Cleaner, in_batches
from langraft.corpus.counts import BrokenCount, PartCounts
from langraft.corpus.filter import AbstractFilter
from langraft.corpus.minhash import band_keys, shorten, signatures
from langraft.corpus.shards import ShardWriter
from langraft.corpus.source import AbstractSource, Part
from langraft.corpus.tokenizer import DocumentTokenizer, tokenizer_in

TRAIN, MAY_HOLD_OUT, HOLD_OUT = 0, 1, 2
_HELDOUT_ONE_IN = 16  # documents whose hash falls here are held out until the budget is met
_BATCHES_AHEAD = 2
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTask:
    """Everything a worker must know; picklable, and done again only when it is not finished.

    Attributes:
        source: Where the part comes from.
        stream: Language, or pair.
        part: What to read.
        filters: Of the recipe, in order.
        deduplicate: Whether to measure for near-duplicates.
        tokenizer: Folder of the base's.
        heldout_tokens: As many may be held out at most.
        max_tokens: Stop reading when there are so many; None for all.
        folder: Of the finished part.
    """

    source: AbstractSource
    stream: str
    part: Part
    filters: tuple[AbstractFilter, ...]
    deduplicate: Deduplication | None
    tokenizer: Path
    heldout_tokens: int
    max_tokens: int | None
    folder: Path

    @property
    def num_bytes(self) -> int:
        """Size of the part as stored, for who shares out the work."""
        return self.part.num_bytes

    @property
    def name(self) -> str:
        """What the part is called in messages."""
        return f"{self.stream}, {self.source.label or self.source.source}, part {self.part.name}"

    def __call__(self) -> None:
        """Do the work unless it is done.

        Raises:
            CorpusError: when the source is damaged or broken beyond its limit.
            ArtifactError: when the disk is full.
        """
        if self.folder.is_dir():
            return
        partial = self.folder.with_name(f".{self.folder.name}.partial")
        with explain_disk_errors(self.folder):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            counts = self._write(partial)
            write_json(partial / "counts.json", counts.to_json())
            partial.replace(self.folder)

    def _write(self, folder: Path) -> PartCounts:
        counts = PartCounts(broken=BrokenCount(max_share=self.source.max_broken))
        cleaner = Cleaner(self.filters, self.stream, counts.drops)
        tokenizer = tokenizer_in(self.tokenizer)
        documents = counts.broken.good(self.source.read_part(self.stream, self.part))
        # What is cleaned and cut ahead counts, so with a budget nothing is.
        ahead = _ahead if self.max_tokens is None else iter
        cleaned = ahead(self._cleaned(documents, cleaner, counts))
        batches = ahead((batch, self._cut(batch, tokenizer)) for batch in cleaned)
        writer = _PartWriter(folder, tokenizer.vocab_size, self.deduplicate, self.heldout_tokens)
        with contextlib.closing(writer):
            for batch, pieces in batches:
                for document, of_document in zip(batch.documents, pieces, strict=True):
                    tokens = tokenizer.document(*of_document)
                    writer.add(document, tokens, self._languages(document, of_document, tokenizer))
                writer.add_signatures(self._measure(batch))
                if self.max_tokens is not None and writer.num_tokens >= self.max_tokens:
                    break
        counts.documents, counts.bytes = writer.num_documents, writer.num_bytes
        counts.tokens = writer.num_tokens
        return counts

    def _cleaned(
        self, documents: Iterable[Document], cleaner: Cleaner, counts: PartCounts
    ) -> Iterator[CleanBatch]:
        for batch in in_batches(documents):
            counts.read_documents += len(batch)
            counts.read_bytes += sum(len(document.text.encode()) for document in batch)
            yield cleaner.clean(batch)

    def _measure(self, batch: CleanBatch) -> NDArray[np.uint64] | None:
        if self.deduplicate is None or self.deduplicate.similarity is None:
            return None
        return signatures(batch.texts, self.deduplicate)[batch.places]

    def _cut(self, batch: CleanBatch, tokenizer: DocumentTokenizer) -> list[list[Any]]:
        """Return the encodings of each document's pieces; a text in one language is one piece."""
        texts = [[p.text for p in d.pieces] or [d.text] for d in batch.documents]
        encodings = iter(tokenizer.cut([piece for pieces in texts for piece in pieces]))
        return [[next(encodings) for _ in pieces] for pieces in texts]

    def _languages(
        self, document: Document, pieces: list[Any], tokenizer: DocumentTokenizer
    ) -> NDArray[np.uint8] | None:
        """Return which of the stream's languages each token of a pair is in."""
        if not document.pieces:
            return None
        codes = languages_of(self.stream)
        of_piece = np.array([codes.index(piece.language) for piece in document.pieces], np.uint8)
        return of_piece[tokenizer.piece_numbers(*pieces)]


class _PartWriter:
    """Writes the files of a part, document by document."""

    def __init__(
        self,
        folder: Path,
        vocab_size: int,
        deduplicate: Deduplication | None,
        heldout_tokens: int,
    ) -> None:
        self._shards = ShardWriter(folder, vocab_size)
        self._hashes = ArrayFile(folder / "hashes.npy", np.uint64)
        self._sizes = ArrayFile(folder / "sizes.npy", np.int64)
        self._marks = ArrayFile(folder / "marks.npy", np.uint8)
        self._deduplicate = deduplicate
        self._similar: tuple[ArrayFile, ArrayFile] | None = None
        if deduplicate is not None and deduplicate.similarity is not None:
            num_hashes = deduplicate.bands * deduplicate.rows
            self._similar = (
                ArrayFile(folder / "bands.npy", np.uint64, (deduplicate.bands,)),
                ArrayFile(folder / "signatures.npy", np.uint16, (num_hashes,)),
            )
        self._candidates = (folder / "candidates.jsonl").open("w", encoding="utf-8")
        self._room = heldout_tokens
        self.num_bytes = 0

    @property
    def num_tokens(self) -> int:
        return self._shards.num_tokens

    @property
    def num_documents(self) -> int:
        return self._shards.num_documents

    def add(
        self, document: Document, tokens: NDArray[Any], languages: NDArray[np.uint8] | None
    ) -> None:
        text = document.text.encode()
        digest, mark = mark_document(document)
        if mark != TRAIN and self._room > 0:
            record = [self.num_documents, document.text]
            self._candidates.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._room -= len(tokens)
        self._hashes.append(np.array([digest], np.uint64))
        self._sizes.append(np.array([len(text)]))
        self._marks.append(np.array([mark]))
        self._shards.add(tokens, document.id, languages)
        self.num_bytes += len(text)

    def add_signatures(self, signatures_DK: NDArray[np.uint64] | None) -> None:
        if self._similar is None or signatures_DK is None or self._deduplicate is None:
            return
        bands, shortened = self._similar
        bands.append(band_keys(signatures_DK, self._deduplicate))
        shortened.append(shorten(signatures_DK))

    def close(self) -> None:
        self._shards.close()
        self._candidates.close()
        for file in (self._hashes, self._sizes, self._marks, *(self._similar or ())):
            file.close()


def mark_document(document: Document) -> tuple[int, int]:
    """Return the hash of a document's text, and whether it may be held out.

    Its source decides, else the hash: copies hash alike, so all copies of a document are on the
    same side. Pairs are never held out.
    """
    hashed = hashlib.blake2b(document.text.encode(), digest_size=8)
    digest = int.from_bytes(hashed.digest(), "big")
    if document.pieces:
        return digest, TRAIN
    if document.split is not None:
        return digest, HOLD_OUT if document.split == "heldout" else TRAIN
    return digest, MAY_HOLD_OUT if digest % _HELDOUT_ONE_IN == 0 else TRAIN


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield what a thread reads and cleans ahead, while what came before is tokenized."""
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(_BATCHES_AHEAD)
    is_stopped = threading.Event()

    def read() -> None:
        failure: BaseException | None = None
        try:
            for item in items:
                if is_stopped.is_set():
                    return
                ready.put((item, None))
        except BaseException as error:
            failure = error
        ready.put((None, failure))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        while True:
            item, failure = ready.get()
            if failure is not None:
                raise failure
            if item is None:
                return
            yield item
    finally:
        is_stopped.set()
        while thread.is_alive():  # it may wait for room
            with contextlib.suppress(queue.Empty):
                ready.get(timeout=0.05)
