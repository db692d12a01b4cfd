"""Packs conversations whole into rows of training: best fit, no conversation cut in two.

A row holds conversations end to end and then padding: end-of-text tokens that carry no loss.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from langraft.chat.template import ChatExample
from langraft.corpus.storage.shards import ANSWER, CONTEXT, PADDING, ShardWriter

WINDOW = 4096  # examples that are packed together, in the order in which they come


@dataclass(kw_only=True)
class PackCounts:
    """Counts of what was packed.

    Attributes:
        conversations: Conversations that were added.
        examples: Examples in rows; a conversation may be several.
        cut: Examples longer than a row, cut after the last answer that fits.
        too_long: Examples dropped, as not even their first answer fits.
        tokens: Tokens in rows, without padding.
        answer_tokens: Tokens that the model learns to say.
        rows: Rows.
    """

    conversations: int = 0
    examples: int = 0
    cut: int = 0
    too_long: int = 0
    tokens: int = 0
    answer_tokens: int = 0
    rows: int = 0


def fit(example: ChatExample, row_length: int) -> ChatExample | None:
    """Return an example that fits a row: cut after its last answer inside, or None without one."""
    if len(example.tokens) <= row_length:
        return example
    is_answer = example.is_answer
    ends = (n for n in range(row_length, 0, -1) if is_answer[n - 1] and not is_answer[n])
    end = next(ends, 0)
    return ChatExample(example.tokens[:end], is_answer[:end]) if end else None


def pack(lengths: Sequence[int], row_length: int) -> list[list[int]]:
    """Return the numbers of the examples in each row: best fit, the longest first.

    Best-fit decreasing: each example goes into the fullest row with room for it, which takes at
    most 11/9 of the optimal number of rows, plus one. Ties go by number, so rows are deterministic.

    Args:
        lengths: Tokens of each example, in 1..row_length.
        row_length: Tokens of a row.
    """
    rows: list[list[int]] = []
    free: list[tuple[int, int]] = []  # (free tokens, row), ascending
    for number in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        place = bisect_left(free, (lengths[number], -1))
        if place == len(free):
            num_free, row = row_length, len(rows)
            rows.append([])
        else:
            num_free, row = free.pop(place)
        rows[row].append(number)
        insort(free, (num_free - lengths[number], row))
    return rows


class RowPacker:
    """Packs the examples of one language and writes the rows as documents of a stream.

    Examples are packed within windows of ``window``, in the order in which they come. Every example
    is a document, and so is a row's padding. Row r of the stream is its tokens from
    r * row_length on, as everywhere. Leaving the context writes what is left.
    """

    def __init__(
        self, writer: ShardWriter, row_length: int, padding_id: int, window: int = WINDOW
    ) -> None:
        """Write rows of ``row_length`` tokens, filled up with ``padding_id``."""
        self.counts = PackCounts()
        self._window_length = window
        self._writer = writer
        self._row_length = row_length
        self._padding_id = padding_id
        self._window: list[_WindowExample] = []

    def __enter__(self) -> RowPacker:
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if kind is None:
            self._write_window()
        self._writer.close()

    def add(self, name: str, examples: Sequence[ChatExample]) -> None:
        """Take the examples of one conversation; what is longer than a row is cut or dropped."""
        self.counts.conversations += 1
        for example in examples:
            fitting = fit(example, self._row_length)
            if fitting is None:
                self.counts.too_long += 1
                continue
            self.counts.cut += fitting is not example
            tokens = np.array(fitting.tokens, dtype=np.uint32)
            self._window.append(_WindowExample(name, tokens, np.array(fitting.is_answer)))
            if len(self._window) == self._window_length:
                self._write_window()

    def _write_window(self) -> None:
        lengths = [len(example.tokens) for example in self._window]
        for row in pack(lengths, self._row_length):
            for example in (self._window[number] for number in row):
                parts = np.where(example.is_answer, ANSWER, CONTEXT)
                self._writer.add(example.tokens, example.name, parts=parts)
                self.counts.answer_tokens += int(example.is_answer.sum())
            filled = sum(lengths[number] for number in row)
            self.counts.examples += len(row)
            self.counts.tokens += filled
            self.counts.rows += 1
            if filled < self._row_length:
                padding = np.full(self._row_length - filled, self._padding_id)
                self._writer.add(padding, "padding", parts=np.full_like(padding, PADDING))
        self._window.clear()


class _WindowExample(NamedTuple):
    """An example that waits in the window to be packed, as compact arrays."""

    name: str
    tokens: NDArray[np.uint32]
    is_answer: NDArray[np.bool_]
