"""Batches of packed rows of tokens, with the documents and languages of the tokens.

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
from langraft.corpus.storage.shards import ANSWER, PADDING, TokenShards
from langraft.curriculum.index import MixtureIndex, RowLocation

IGNORED = -100
Array = NDArray[np.int64]
Row = tuple[Array, Array, Array, Array, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows to train on.

    Attributes:
        input_ids: Token ids, (B, S).
        labels: The next token of the same document at each position, (B, S); -100 at a document's
            last token, and in conversations where the next token is not part of an answer. Already
            shifted: compare with the logits at the same position.
        position_ids: From 0 in each document, (B, S). With these and no mask, transformers keeps
            attention inside documents.
        language_ids: Index of each token's language in the run's languages, (B, S).
        is_token: False for padding, (B, S).
        document_starts: Where each document starts in the B * S tokens of all rows, then B * S;
            (N + 1,), int32, always on the CPU; None: derive them from ``position_ids``.
    """

    input_ids: Tensor
    labels: Tensor
    position_ids: Tensor
    language_ids: Tensor
    is_token: Tensor
    document_starts: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the batch on another device; from pinned memory the copy is asynchronous."""
        return self._map(lambda part: part.to(device, non_blocking=True))

    def take(self, rows: Tensor) -> Batch:
        """Return some rows of the batch, by their numbers."""
        tensors = (self.input_ids, self.labels, self.position_ids, self.language_ids, self.is_token)
        return Batch(*(tensor[rows] for tensor in tensors))

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory, from which a GPU copies asynchronously."""
        return self._map(Tensor.pin_memory)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Apply a function to all tensors but ``document_starts``, which stays on the CPU."""
        tensors = (self.input_ids, self.labels, self.position_ids, self.language_ids, self.is_token)
        return Batch(*map(change, tensors), document_starts=self.document_starts)


class PackedLoader:
    """Builds any batch of a stage from (seed, step) alone.

    A row is ``sequence_length`` consecutive tokens of one stream, documents end to end. A document
    that does not fit continues in another row with positions from 0. In sentence pairs every token
    has the id of its own language. In conversations, whose rows are packed already, the labels are
    the tokens of answers.
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
            for stream in index.schedule.streams
        }

    def without(self, windows: Sequence[range]) -> PackedLoader:
        """Return a loader that skips the rows that some samples would have read."""
        loader = copy.copy(self)
        loader.index = self.index.without(windows)
        return loader

    def rows(self, samples: range) -> Batch:
        """Return the batch of these global sample numbers."""
        rows = [self._row(self.index.locate(sample)) for sample in samples]
        parts = [torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True)]
        return Batch(*parts, document_starts=document_starts(parts[2]))

    def documents(self, samples: range) -> list[str]:
        """Return the names ``stream/id`` of the documents in these rows, for error messages."""
        names: list[str] = []
        for location in map(self.index.locate, samples):
            start = location.row * self.sequence_length
            ids = self._shards[location.stream].document_ids(start, start + self.sequence_length)
            names += [f"{location.stream}/{name}" for name in ids]
        return names

    def _row(self, location: RowLocation) -> Row:
        start = location.row * self.sequence_length
        span = self._shards[location.stream].read(start, start + self.sequence_length + 1)
        ids = self._language_ids[location.stream]
        return pack_row(
            span.tokens,
            span.starts,
            self.sequence_length,
            ids[0] if span.languages is None else ids[span.languages],
            span.parts,
        )


def document_starts(position_ids: Tensor) -> Tensor:
    """Return where documents start in rows (B, S) end to end, then B * S; (N + 1,), int32.

    A document starts at the beginning of a row, and where positions do not increase by one, which
    is how transformers interprets them.
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
        tokens: Up to ``length + 1`` tokens, the last of which is only a label. A shorter row is
            padded, without labels.
        starts: Offsets in 1..len(tokens)-1 where documents start.
        length: S.
        language_ids: Language of each token, or one for all.
        parts: In conversations the part of each token; only tokens of answers are labels.
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
    first = np.zeros(length, dtype=np.int64)  # first position of each position's document
    inside = starts[starts < length]
    first[inside] = inside
    first[num_inputs:] = num_inputs
    positions = np.arange(length) - np.maximum.accumulate(first)
    languages = np.empty(length, dtype=np.int64)
    languages[:num_inputs] = np.broadcast_to(language_ids, len(tokens))[:num_inputs]
    languages[num_inputs:] = languages[0]
    return input_ids, labels, positions, languages, is_token
