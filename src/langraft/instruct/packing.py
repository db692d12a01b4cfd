"""Conversations whole in rows of training: best fit, no conversation cut in two.

A row holds conversations end to end and then padding: end-of-text tokens that carry no loss.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from langraft.corpus.shards import ANSWER, CONTEXT, PADDING, ShardWriter
from langraft.instruct.chat_template import ChatExample

WINDOW = 4096  # examples that are packed together, in the order in which they come


@dataclass(kw_only=True)
class PackCounts:
    """What was packed.

    Attributes:
        examples: In rows; a conversation may be several.
        cut: Of those, too long for a row and cut after the last answer that fits.
        too_long: Dropped, as not even their first answer fits.
        tokens: In rows, without padding.
        answer_tokens: Of those, what the model learns to say.
        rows: Rows.
    """

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
    """Return rows of numbers of what they hold: best fit, the longest first.

    Each goes into the fullest row that has room for it, so it needs no more rows than 11/9 of
    the least number, and one (best-fit decreasing). Ties go by number, so rows are always the same.

    Args:
        lengths: Tokens of each example, in 1..row_length.
        row_length: Tokens of a row.
    """
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, row), ascending
    for number in sorted(range(len(lengths)), key=lambda n: (-lengths[n], n)):
        place = bisect_left(room, (lengths[number], -1))
        if place == len(room):
            left, row = row_length, len(rows)
            rows.append([])
        else:
            left, row = room.pop(place)
        rows[row].append(number)
        insort(room, (left - lengths[number], row))
    return rows


def write_rows(
    examples: Iterable[tuple[str, ChatExample]],
    writer: ShardWriter,
    row_length: int,
    padding_id: int,
) -> PackCounts:
    """Pack examples within windows of ``WINDOW`` and write the rows as documents of a stream.

    Every example is a document, and so is a row's padding. Row r of the stream is its tokens from
    r * row_length on, as everywhere.

    Args:
        examples: Each with its name.
        writer: Of the stream; not closed.
        row_length: Tokens of a row.
        padding_id: Token that fills rows up.
    """
    counts = PackCounts()
    for window in _windows(_fitting(examples, row_length, counts)):
        for row in pack([len(example.tokens) for _, example in window], row_length):
            filled = 0
            for name, example in (window[number] for number in row):
                parts = np.where(example.is_answer, ANSWER, CONTEXT)
                writer.add(np.array(example.tokens), name, parts=parts)
                filled += len(example.tokens)
                counts.answer_tokens += sum(example.is_answer)
            counts.examples += len(row)
            counts.tokens += filled
            counts.rows += 1
            if filled < row_length:
                padding = np.full(row_length - filled, padding_id)
                writer.add(padding, "padding", parts=np.full_like(padding, PADDING))
    return counts


def _fitting(
    examples: Iterable[tuple[str, ChatExample]], row_length: int, counts: PackCounts
) -> Iterator[tuple[str, ChatExample]]:
    """Cut or drop what is longer than a row, and count it."""
    for name, example in examples:
        fitting = fit(example, row_length)
        if fitting is None:
            counts.too_long += 1
            continue
        counts.cut += fitting is not example
        yield name, fitting


def _windows(
    examples: Iterable[tuple[str, ChatExample]],
) -> Iterator[list[tuple[str, ChatExample]]]:
    remaining = iter(examples)
    while window := list(itertools.islice(remaining, WINDOW)):
        yield window
