"""The task that reads, cleans, tokenizes and measures one part of a source.

A finished part is a folder of shards (``storage/shards.py``) and of what ``stream_task.py`` needs
once all parts of a stream are finished:

    hashes.npy       hash of each document's text, to find exact copies
    sizes.npy        its bytes
    marks.npy        TRAIN, MAY_HOLD_OUT or HOLD_OUT
    bands.npy, signatures.npy    for near-duplicates, if the recipe asks for them
    candidates.jsonl             texts that may be held out, up to the budget
    counts.json      what was read and what was dropped, by reason
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from langraft.core.document import Document
from langraft.core.files import write_json
from langraft.core.settings.corpus import Deduplication
from langraft.core.streams import languages_of
from langraft.core.system_errors import explain_disk_errors
from langraft.corpus.cleaning import CleanBatch, Cleaner, in_batches
from langraft.corpus.counts import BrokenCount, PartCounts
from langraft.corpus.dedup.minhash import band_keys, shorten, signatures
from langraft.corpus.filter import AbstractFilter
from langraft.corpus.source import AbstractSource, Part
from langraft.corpus.storage.arrays import ArrayFile
from langraft.corpus.storage.shards import ShardWriter
from langraft.tokenizers.document_tokenizer import DocumentTokenizer, cached_tokenizer

TRAIN, MAY_HOLD_OUT, HOLD_OUT = 0, 1, 2
_HELDOUT_ONE_IN = 16  # one document in so many, chosen by hash, may be held out
_BATCHES_AHEAD = 2
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartTask:
    """Reads one part and writes its folder; picklable, and does nothing if the folder exists.

    Attributes:
        source: Source of the part.
        stream: Language, or pair.
        part: What to read.
        filters: Filters of the recipe, in order.
        deduplicate: Settings of deduplication; None for none.
        tokenizer: Folder of the base's tokenizer.
        heldout_tokens: Most tokens to hold out.
        max_tokens: Stop reading after so many; None for all.
        folder: Folder of the finished part.
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
        """Size of the part as stored."""
        return self.part.num_bytes

    @property
    def name(self) -> str:
        """Name of the part for messages."""
        return f"{self.stream}, {self.source.label or self.source.source}, part {self.part.name}"

    @property
    def is_finished(self) -> bool:
        """Whether the part has been written."""
        return self.folder.is_dir()

    def __call__(self) -> None:
        """Write the part unless it is finished.

        Raises:
            CorpusError: when the source is damaged or too many records are broken.
            ArtifactError: when the disk is full.
        """
        if self.is_finished:
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
        tokenizer = cached_tokenizer(self.tokenizer)
        # With a budget nothing is processed ahead, because what is read is also counted.
        ahead = _read_ahead if self.max_tokens is None else iter
        cleaned = ahead(self._clean_batches(counts))
        tokenized = ahead((batch, _tokenize(batch, tokenizer)) for batch in cleaned)
        writer = _PartWriter(folder, tokenizer.vocab_size, self.deduplicate, self.heldout_tokens)
        with contextlib.closing(writer):
            for batch, encodings in tokenized:
                for document, pieces in zip(batch.documents, encodings, strict=True):
                    languages = self._token_languages(document, pieces, tokenizer)
                    writer.add(document, tokenizer.document(*pieces), languages)
                writer.add_signatures(batch)
                if self.max_tokens is not None and writer.shards.num_tokens >= self.max_tokens:
                    break
        counts.documents, counts.bytes = writer.shards.num_documents, writer.num_bytes
        counts.tokens = writer.shards.num_tokens
        return counts

    def _clean_batches(self, counts: PartCounts) -> Iterator[CleanBatch]:
        cleaner = Cleaner(self.filters, self.stream, counts.drops)
        documents = counts.broken.good(self.source.read_part(self.stream, self.part))
        for batch in in_batches(documents):
            counts.read_documents += len(batch)
            counts.read_bytes += sum(len(document.text.encode()) for document in batch)
            yield cleaner.clean(batch)

    def _token_languages(
        self, document: Document, pieces: list[Any], tokenizer: DocumentTokenizer
    ) -> NDArray[np.uint8] | None:
        """Return for each token of a pair which of the stream's two languages it is in, 0 or 1."""
        if not document.pieces:
            return None
        codes = languages_of(self.stream)
        of_piece = np.array([codes.index(piece.language) for piece in document.pieces], np.uint8)
        return of_piece[tokenizer.piece_of_each_token(*pieces)]


class _PartWriter:
    """Writes the files of a part, document by document."""

    def __init__(
        self,
        folder: Path,
        vocab_size: int,
        deduplicate: Deduplication | None,
        heldout_tokens: int,
    ) -> None:
        self.shards = ShardWriter(folder, vocab_size)
        self.num_bytes = 0
        self._hashes = ArrayFile(folder / "hashes.npy", np.uint64)
        self._sizes = ArrayFile(folder / "sizes.npy", np.int64)
        self._marks = ArrayFile(folder / "marks.npy", np.uint8)
        self._arrays = [self._hashes, self._sizes, self._marks]
        self._candidates = (folder / "candidates.jsonl").open("w", encoding="utf-8")
        self._heldout_tokens_left = heldout_tokens
        self._near = None
        if deduplicate is not None and deduplicate.similarity is not None:
            self._near = deduplicate
            num_hashes = deduplicate.bands * deduplicate.rows
            self._bands = ArrayFile(folder / "bands.npy", np.uint64, (deduplicate.bands,))
            self._signatures = ArrayFile(folder / "signatures.npy", np.uint16, (num_hashes,))
            self._arrays += [self._bands, self._signatures]

    def add(
        self, document: Document, tokens: NDArray[Any], languages: NDArray[np.uint8] | None
    ) -> None:
        text = document.text.encode()
        digest, mark = mark_document(document)
        if mark != TRAIN and self._heldout_tokens_left > 0:
            record = [self.shards.num_documents, document.text]
            self._candidates.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._heldout_tokens_left -= len(tokens)
        self._hashes.append(np.array([digest], np.uint64))
        self._sizes.append(np.array([len(text)]))
        self._marks.append(np.array([mark]))
        self.shards.add(tokens, document.id, languages)
        self.num_bytes += len(text)

    def add_signatures(self, batch: CleanBatch) -> None:
        if self._near is not None:
            signatures_DK = signatures(batch.texts, self._near)[batch.positions]
            self._bands.append(band_keys(signatures_DK, self._near))
            self._signatures.append(shorten(signatures_DK))

    def close(self) -> None:
        self.shards.close()
        self._candidates.close()
        for file in self._arrays:
            file.close()


def _tokenize(batch: CleanBatch, tokenizer: DocumentTokenizer) -> list[list[Any]]:
    """Return the encodings of each document's pieces; a text in one language is one piece."""
    texts = [[p.text for p in d.pieces] or [d.text] for d in batch.documents]
    encodings = iter(tokenizer.tokenize([piece for pieces in texts for piece in pieces]))
    return [[next(encodings) for _ in pieces] for pieces in texts]


def mark_document(document: Document) -> tuple[int, int]:
    """Return the hash of a document's text, and whether it may be held out.

    Its source decides, otherwise the hash, so that all copies of a document get the same mark.
    Pairs are never held out.
    """
    hashed = hashlib.blake2b(document.text.encode(), digest_size=8)
    digest = int.from_bytes(hashed.digest(), "big")
    if document.pieces:
        return digest, TRAIN
    if document.split is not None:
        return digest, HOLD_OUT if document.split == "heldout" else TRAIN
    return digest, MAY_HOLD_OUT if digest % _HELDOUT_ONE_IN == 0 else TRAIN


def _read_ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield items in order while a thread computes the next ``_BATCHES_AHEAD``."""
    iterator = iter(items)
    with ThreadPoolExecutor(max_workers=1) as thread:
        ahead = deque(thread.submit(next, iterator, None) for _ in range(_BATCHES_AHEAD))
        try:
            while (item := ahead.popleft().result()) is not None:
                ahead.append(thread.submit(next, iterator, None))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)
