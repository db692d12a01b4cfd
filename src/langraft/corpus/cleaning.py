"""Documents through the filters, in batches, everything that leaves counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from langraft.core.document import Document
from langraft.corpus.counts import Drops, Example, excerpt
from langraft.corpus.filter import AbstractFilter, Dropped, Judge
from langraft.corpus.text_batch import TextBatch

_BATCH_BYTES = 2**20
_BATCH_DOCUMENTS = 4096


@dataclass(frozen=True, slots=True)
class CleanBatch:
    """Documents that stayed, and the batch that the last filters measured.

    Attributes:
        documents: Those that stayed.
        texts: Of these and of others that have left since it was made.
        places: Where each of the documents stands in it.
    """

    documents: list[Document]
    texts: TextBatch
    places: list[int]


def in_batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Cut a stream of documents into batches of about a megabyte of characters."""
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
    """The filters of a recipe, ready to judge one stream."""

    def __init__(self, filters: Sequence[AbstractFilter], stream: str, drops: Drops) -> None:
        """Load what the filters need.

        Args:
            filters: In order; none is asked about sentence pairs.
            stream: Language, or pair.
            drops: Where to count what leaves.
        """
        self._stream = stream
        self._drops = drops
        is_pair = "+" in stream
        self._judges: list[tuple[str, Judge]] = [
            (each.name, each.start(stream)) for each in filters if not is_pair
        ]

    def clean(self, documents: list[Document]) -> CleanBatch:
        """Judge a batch; each document leaves for the first reason that any filter gives."""
        batch = TextBatch([document.text for document in documents], self._stream)
        left: dict[int, Dropped] = {}
        for name, judge in self._judges:
            verdicts = judge(batch)
            is_mended = False
            for number, (before, verdict) in enumerate(zip(batch.texts, verdicts, strict=True)):
                if isinstance(verdict, Dropped):
                    reason = f"{name}: {verdict.reason}"
                    left.setdefault(number, Dropped(reason, verdict.detail))
                elif verdict is not before:
                    is_mended |= verdict != before
            if is_mended:
                documents, batch, left = self._mend(documents, verdicts, left)
        return self._without(documents, batch, left)

    def _mend(
        self, documents: list[Document], verdicts: list[str | Dropped], left: dict[int, Dropped]
    ) -> tuple[list[Document], TextBatch, dict[int, Dropped]]:
        """Put mended texts in place; what has left by now leaves the batch."""
        kept: list[Document] = []
        for number, (document, verdict) in enumerate(zip(documents, verdicts, strict=True)):
            if number in left or isinstance(verdict, Dropped):
                self._count(document, left[number])
            else:
                kept.append(replace(document, text=verdict))
        return kept, TextBatch([document.text for document in kept], self._stream), {}

    def _without(
        self, documents: list[Document], batch: TextBatch, left: dict[int, Dropped]
    ) -> CleanBatch:
        for number, dropped in left.items():
            self._count(documents[number], dropped)
        places = [number for number in range(len(documents)) if number not in left]
        return CleanBatch([documents[number] for number in places], batch, places)

    def _count(self, document: Document, dropped: Dropped) -> None:
        example = Example(document.id, dropped.detail, excerpt(document.text))
        self._drops.add(dropped.reason, len(document.text.encode()), example)
