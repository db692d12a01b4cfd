"""Conversations in rows: nothing lost, nothing cut, no leak between neighbours."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from langraft.chat.packing import WINDOW, PackCounts, RowPacker, fit, pack
from langraft.chat.template import ChatExample
from langraft.corpus.storage.shards import ShardWriter, TokenShards
from langraft.curriculum.index import MixtureIndex
from langraft.curriculum.loader import IGNORED, Batch, PackedLoader, pack_row
from langraft.curriculum.schedule import MixtureSchedule
from langraft.train.compute.chunked_loss import token_losses
from thorough import examples
from tiny import VOCAB_SIZE, tiny_model

LENGTH = 48
PADDING = 0


def example(*parts: int, seed: int = 0) -> ChatExample:
    """Return messages of so many tokens: context, answer, context, answer, ..."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, VOCAB_SIZE, (sum(parts),), generator=generator).tolist()
    is_answer = [n % 2 == 1 for n, size in enumerate(parts) for _ in range(size)]
    return ChatExample(tuple(tokens), tuple(is_answer))


EXAMPLES = [example(3 + n % 5, 2 + n % 7, *[4, 3] * (n % 3), seed=n) for n in range(40)]


def packed(
    folder: Path, examples: list[ChatExample], length: int = LENGTH, window: int = WINDOW
) -> tuple[Batch, PackCounts]:
    """Write examples as a stream and load all of its rows."""
    with RowPacker(ShardWriter(folder, VOCAB_SIZE), length, PADDING, window) as packer:
        for number, found in enumerate(examples):
            packer.add(f"chat-{number}", [found])
    shards = {"el": TokenShards(folder)}
    num_rows = shards["el"].num_tokens // length
    assert shards["el"].num_tokens == num_rows * length
    index = MixtureIndex(MixtureSchedule({"el": 1}), {"el": num_rows}, 0, "talk")
    return PackedLoader(index, shards, ["en", "el"], length).rows(range(num_rows)), packer.counts


def row_documents(batch: Batch, row: int) -> list[tuple[list[int], list[int]]]:
    """Return (tokens, labels) of the documents of a row, padding left out."""
    starts = [*(batch.position_ids[row] == 0).nonzero().flatten().tolist(), LENGTH]
    return [
        (batch.input_ids[row, a:b].tolist(), batch.labels[row, a:b].tolist())
        for a, b in pairwise(starts)
        if batch.is_token[row, a]
    ]


@settings(max_examples=examples(200))
@given(st.lists(st.integers(1, 50), max_size=60))
def test_packing_loses_and_cuts_nothing_and_leaves_no_two_rows_that_fit_in_one(
    lengths: list[int],
) -> None:
    rows = pack(lengths, 50)
    assert sorted(number for row in rows for number in row) == list(range(len(lengths)))
    filled = sorted(sum(lengths[number] for number in row) for row in rows)
    assert all(0 < tokens <= 50 for tokens in filled)
    assert len(filled) < 2 or filled[0] + filled[1] > 50
    assert rows == pack(lengths, 50)


def test_every_answer_is_labelled_once_and_nothing_else(tmp_path: Path) -> None:
    batch, counts = packed(tmp_path, EXAMPLES)
    found = [document for row in range(len(batch.labels)) for document in row_documents(batch, row)]
    wanted = [
        (
            list(e.tokens),
            [
                token if is_answer else IGNORED
                for token, is_answer in zip(e.tokens[1:], e.is_answer[1:], strict=True)
            ]
            + [IGNORED],
        )
        for e in EXAMPLES
    ]
    assert sorted(found) == sorted(wanted)
    assert (batch.labels != IGNORED).sum() == sum(sum(e.is_answer) for e in EXAMPLES)
    assert counts.answer_tokens == (batch.labels != IGNORED).sum()
    assert counts.tokens == batch.is_token.sum()
    assert counts.rows == len(batch.labels)


def test_padding_is_a_document_of_its_own_without_labels(tmp_path: Path) -> None:
    batch, _ = packed(tmp_path, EXAMPLES)
    assert not batch.is_token.all()
    assert (batch.labels[~batch.is_token] == IGNORED).all()
    assert (batch.input_ids[~batch.is_token] == PADDING).all()
    for row in range(len(batch.labels)):
        positions = batch.position_ids[row][~batch.is_token[row]]
        assert positions.tolist() == list(range(len(positions)))


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_conversation_costs_the_same_alone_and_packed_with_others(
    family: str, tmp_path: Path
) -> None:
    model: Any = tiny_model(family)
    batch, _ = packed(tmp_path, EXAMPLES)
    with torch.no_grad():
        together = token_losses(model, batch).view_as(batch.labels)
        num_compared = 0
        for row in range(len(batch.labels)):
            starts = [*(batch.position_ids[row] == 0).nonzero().flatten().tolist(), LENGTH]
            for a, b in pairwise(starts):
                ids, labels = batch.input_ids[row : row + 1, a:b], batch.labels[row : row + 1, a:b]
                alone = model(input_ids=ids, use_cache=False).logits[0]
                losses = torch.nn.functional.cross_entropy(alone, labels[0], reduction="none")
                torch.testing.assert_close(together[row, a:b], losses, atol=1e-5, rtol=1e-5)
                num_compared += int((labels != IGNORED).sum())
    assert num_compared == sum(sum(e.is_answer) for e in EXAMPLES)


def test_what_is_longer_than_a_row_ends_with_the_last_answer_that_fits(tmp_path: Path) -> None:
    long = example(10, 10, 10, 10, 10, 10)
    found = fit(long, LENGTH)
    assert found is not None
    assert found.tokens == long.tokens[:40]
    assert fit(example(40, 9), LENGTH) is None
    whole = example(40, 8)
    assert fit(whole, LENGTH) is whole
    assert fit(example(4, 44, 1, 1), LENGTH) == ChatExample(
        example(4, 44, 1, 1).tokens[:48], example(4, 44).is_answer
    )
    _, counts = packed(tmp_path, [long, example(40, 9), whole])
    assert (counts.cut, counts.too_long, counts.examples, counts.conversations) == (1, 1, 2, 3)


def test_windows_bound_what_is_held_and_lose_nothing(tmp_path: Path) -> None:
    batch, counts = packed(tmp_path, EXAMPLES, window=7)
    assert counts.examples == len(EXAMPLES)
    assert batch.is_token.sum() == sum(len(e.tokens) for e in EXAMPLES)


def test_a_failed_step_leaves_the_window_unwritten(tmp_path: Path) -> None:
    def fail() -> None:
        with RowPacker(ShardWriter(tmp_path, VOCAB_SIZE), LENGTH, PADDING) as packer:
            packer.add("chat", [example(3, 4)])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not list(tmp_path.glob("*.tokens.npy"))


def test_only_answers_are_labels_in_a_row_by_hand() -> None:
    tokens, parts = np.array([5, 6, 7, 8, 9, 0]), np.array([0, 0, 1, 1, 0, 2])
    row = pack_row(tokens, np.array([5]), 6, 1, parts)
    assert row[1].tolist() == [IGNORED, 7, 8, IGNORED, IGNORED, IGNORED]
    assert row[4].tolist() == [True] * 5 + [False]
