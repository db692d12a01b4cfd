"""Applies a recipe's filters to documents, in batches, and counts what they drop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from langraft.core.document import Document
from langraft.corpus.counts import Drops, Example, excerpt
from langraft.corpus.filter import AbstractFilter, Judge, Rejection
from langraft.corpus.text_batch import TextBatch

_BATCH_BYTES = 2**20
_BATCH_DOCUMENTS = 4096


@dataclass(frozen=True, slots=True)
class CleanBatch:
    """Documents that the filters kept, and the batch that the last filters judged.

    Attributes:
        documents: The documents that were kept.
        texts: Their texts, and those of documents that were dropped after the last repair.
        positions: Position of each document in ``texts``.
    """

    documents: list[Document]
    texts: TextBatch
    positions: list[int]


def in_batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Group a stream of documents into batches of about a megabyte of characters."""
    batch: list[Document] = []
    room = _BATCH_BYTES
    for document in documents:
        batch.append(document)
        room -= len(document.text)
        if room <= 0 or len(batch) == _BATCH_DOCUMENTS:
            yield batch
            batch, room = [], _BATCH_BYTES
    if batch:
        yield batch


class Cleaner:
    """The filters of a recipe with their models loaded for one stream."""

    def __init__(self, filters: Sequence[AbstractFilter], stream: str, drops: Drops) -> None:
        """Load what the filters need.

        Args:
            filters: In order; sentence pairs are not filtered.
            stream: Language, or pair.
            drops: Where to count dropped documents.
        """
        self._stream = stream
        self._drops = drops
        is_pair = "+" in stream
        self._judges: list[tuple[str, Judge]] = [
            (each.name, each.make_judge(stream)) for each in filters if not is_pair
        ]

    def clean(self, documents: list[Document]) -> CleanBatch:
        """Judge a batch; each document is dropped for the first reason that any filter gives."""
        batch = self._batch(documents)
        rejected: dict[int, Rejection] = {}
        for name, judge in self._judges:
            is_repaired = False
            verdicts = judge(batch)
            for number, (before, verdict) in enumerate(zip(batch.texts, verdicts, strict=True)):
                if isinstance(verdict, Rejection):
                    reason = f"{name}: {verdict.reason}"
                    rejected.setdefault(number, Rejection(reason, verdict.detail))
                elif verdict is not before:
                    is_repaired |= verdict != before
            if is_repaired:
                repaired = [
                    document if isinstance(text, Rejection) else replace(document, text=text)
                    for document, text in zip(documents, verdicts, strict=True)
                ]
                kept = self._count_rejected(documents, dict(sorted(rejected.items())))
                documents, rejected = [repaired[number] for number in kept], {}
                batch = self._batch(documents)
        kept = self._count_rejected(documents, rejected)
        return CleanBatch([documents[number] for number in kept], batch, kept)

    def _batch(self, documents: list[Document]) -> TextBatch:
        texts = [document.text for document in documents]
        return TextBatch(texts, self._stream, [document.is_line for document in documents])

    def _count_rejected(
        self, documents: list[Document], rejected: dict[int, Rejection]
    ) -> list[int]:
        """Count the rejected documents and return the positions of the others."""
        for number, rejection in rejected.items():
            text = documents[number].text
            example = Example(documents[number].id, rejection.detail, excerpt(text))
            self._drops.add(rejection.reason, len(text.encode()), example)
        return [number for number in range(len(documents)) if number not in rejected]
