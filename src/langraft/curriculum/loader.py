"""Packed batches: rows of tokens that know their documents and languages.

Shape suffixes: B = rows, S = tokens of a row.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from langraft.core.streams import languages_of
from langraft.corpus.shards import ANSWER, PADDING, TokenShards
from langraft.curriculum.index import MixtureIndex, Place

IGNORED = -100
Array = NDArray[np.int64]
Row = tuple[Array, Array, Array, Array, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to train on.

    Attributes:
        input_ids: Token ids, (B, S).
        labels: The token that follows each position in the same document, (B, S); -100 at a
            document's last token, and of conversations where no answer follows. Already shifted:
            compare with the logits at the same place.
        position_ids: Restart at 0 where a document starts, (B, S). With these and no mask,
            transformers keeps attention inside documents.
        language_ids: Index of each token's language in the run's languages, (B, S).
        is_token: False where there is only padding, (B, S).
        document_starts: Where each document starts in the B * S tokens of all rows, then B * S;
            (N + 1,), int32, on the host whatever the device of the rest; None: see
            ``position_ids``.
    """

    input_ids: Tensor
    labels: Tensor
    position_ids: Tensor
    language_ids: Tensor
    is_token: Tensor
    document_starts: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device; from pinned memory nobody waits for the copy."""
        return self._changed(lambda part: part.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in memory that a GPU copies from by itself."""
        return self._changed(Tensor.pin_memory)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Change all parts but the starts of documents, which the host reads."""
        tensors = (self.input_ids, self.labels, self.position_ids, self.language_ids, self.is_token)
        return Batch(*map(change, tensors), document_starts=self.document_starts)


class PackedLoader:
    """Builds any batch of a stage from (seed, step) alone.

    A row is a stretch of ``sequence_length`` tokens of one stream, documents end to end. A document
    that a row's edge cuts goes on in another row with positions from 0. Of a stream of sentence
    pairs every token has the id of its own language. Of conversations, whose rows are packed
    already, the labels are the tokens of the answers.
    """

    def __init__(
        self,
        index: MixtureIndex,
        shards: Mapping[str, TokenShards],
        languages: Sequence[str],
        sequence_length: int,
    ) -> None:
        """Read rows of ``sequence_length`` tokens; ``languages`` fixes the language ids."""
        self.index = index
        self.sequence_length = sequence_length
        self._shards = shards
        numbers = {code: number for number, code in enumerate(languages)}
        self._language_ids = {
            stream: np.array([numbers[code] for code in languages_of(stream)])
            for stream in index.schedule.languages
        }

    def without(self, windows: Sequence[range]) -> PackedLoader:
        """Return a loader that leaves out the rows that some samples would have read."""
        loader = copy.copy(self)
        loader.index = self.index.without(windows)
        return loader

    def rows(self, samples: range) -> Batch:
        """Return the rows with these global sample numbers."""
        rows = [self._row(self.index.locate(sample)) for sample in samples]
        parts = [torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)]
        return Batch(*parts, document_starts=document_starts(parts[2]))

    def documents(self, samples: range) -> list[str]:
        """Name the documents in these rows as ``stream/id``, for error messages."""
        names: list[str] = []
        for place in (self.index.locate(sample) for sample in samples):
            start = place.row * self.sequence_length
            ids = self._shards[place.language].document_ids(start, start + self.sequence_length)
            names += [f"{place.language}/{name}" for name in ids]
        return names

    def _row(self, place: Place) -> Row:
        start = place.row * self.sequence_length
        span = self._shards[place.language].read(start, start + self.sequence_length + 1)
        ids = self._language_ids[place.language]
        return pack_row(
            span.tokens,
            span.starts,
            self.sequence_length,
            ids[0] if span.languages is None else ids[span.languages],
            span.parts,
        )


def document_starts(position_ids: Tensor) -> Tensor:
    """Return where documents start in rows (B, S) end to end, then B * S; (N + 1,), int32.

    A document starts with its row, and where positions do not go on, which is what transformers
    makes of them.
    """
    is_start = torch.ones_like(position_ids, dtype=torch.bool)
    is_start[:, 1:] = position_ids.diff() != 1
    starts = is_start.flatten().nonzero().flatten()
    return torch.cat([starts, starts.new_tensor([position_ids.numel()])]).int()


def pack_row(
    tokens: Array,
    starts: Array,
    length: int,
    language_ids: Array | int,
    parts: Array | None = None,
) -> Row:
    """Return input_ids, labels, position_ids, language_ids and is_token of a row, each (length,).

    Args:
        tokens: Up to ``length + 1`` tokens; the last one is only a label. Fewer are padded, and
            padding has no labels.
        starts: Offsets in 1..len(tokens)-1 where documents start.
        length: S.
        language_ids: Of each token, or one of all.
        parts: Of conversations what each token is to the loss: only answers are labels.
    """
    num_inputs = min(len(tokens), length)
    input_ids = np.zeros(length, dtype=np.int64)
    input_ids[:num_inputs] = tokens[:num_inputs]
    labels = np.full(length, IGNORED, dtype=np.int64)
    labels[: len(tokens) - 1] = tokens[1:]
    labels[starts - 1] = IGNORED
    is_token = np.arange(length) < num_inputs
    if parts is not None:
        labels[: len(tokens) - 1][parts[1:] != ANSWER] = IGNORED
        is_token[:num_inputs] = parts[:num_inputs] != PADDING
    first = np.zeros(length, dtype=np.int64)  # of each place's document
    inside = starts[starts < length]
    first[inside] = inside
    first[num_inputs:] = num_inputs
    positions = np.arange(length) - np.maximum.accumulate(first)
    languages = np.empty(length, dtype=np.int64)
    languages[:num_inputs] = np.broadcast_to(language_ids, len(tokens))[:num_inputs]
    languages[num_inputs:] = languages[0]
    return input_ids, labels, positions, languages, is_token
