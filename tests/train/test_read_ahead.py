from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from stage_setup import grafted, make_loader, training, write_shards
from test_train_stage import train

from langraft.curriculum.loader import PackedLoader
from langraft.train.log import read_log
from langraft.train.read_ahead import ReadAhead


@pytest.fixture
def loader(tmp_path: Path) -> PackedLoader:
    write_shards(tmp_path / "shards")
    return make_loader(tmp_path / "shards")


def two_rows(loader: PackedLoader, step: int) -> list[Any]:
    return [loader.rows(range(2 * step, 2 * step + 2))]


def test_batches_are_those_that_would_be_read_in_turn(loader: PackedLoader) -> None:
    with ReadAhead(two_rows, 5) as reader:
        for step in (0, 1, 2, 1, 4):  # a rewind and a leap among them
            (found,), (expected,) = reader.batches(loader, step), two_rows(loader, step)
            assert torch.equal(found.input_ids, expected.input_ids)
            assert torch.equal(found.labels, expected.labels)


def test_what_was_read_ahead_with_other_text_is_discarded(loader: PackedLoader) -> None:
    with ReadAhead(two_rows, 5) as reader:
        reader.batches(loader, 0)
        other = loader.without([range(4)])
        (found,), (expected,) = reader.batches(other, 1), two_rows(other, 1)
        assert torch.equal(found.input_ids, expected.input_ids)
        assert not torch.equal(found.input_ids, two_rows(loader, 1)[0].input_ids)


def test_the_next_step_is_read_meanwhile_and_none_beyond_it_or_the_last(
    loader: PackedLoader,
) -> None:
    read: list[tuple[int, str]] = []

    def note(loader: PackedLoader, step: int) -> list[Any]:
        time.sleep(0.05)
        read.append((step, threading.current_thread().name))
        return two_rows(loader, step)

    with ReadAhead(note, 3) as reader:
        reader.batches(loader, 0)
        assert reader.seconds_waited >= 0.05
        time.sleep(0.3)
        assert [step for step, _ in read] == [0, 1]
        reader.batches(loader, 1)
        assert reader.seconds_waited < 0.04
        reader.batches(loader, 2)
    assert [step for step, _ in read] == [0, 1, 2]
    assert len({name for _, name in read}) == 1
    assert read[0][1].startswith("langraft-read")


def test_an_error_is_raised_with_its_own_message_when_its_step_is_due(
    loader: PackedLoader,
) -> None:
    def fail(loader: PackedLoader, step: int) -> list[Any]:
        if step == 1:
            raise OSError("shard 3 cannot be read")
        return two_rows(loader, step)

    with ReadAhead(fail, 3) as reader:
        reader.batches(loader, 0)
        with pytest.raises(OSError, match="shard 3 cannot be read"):
            reader.batches(loader, 1)
    assert not any(t.name.startswith("langraft-read") for t in threading.enumerate())


def test_the_log_says_what_share_of_a_step_went_into_waiting(
    loader: PackedLoader, tmp_path: Path
) -> None:
    train(grafted(), loader, tmp_path / "run", training=training())
    shares = [record["data_share"] for record in read_log(tmp_path / "run")]
    assert all(0 <= share < 1 for share in shares)
    assert sorted(shares)[5] < 0.01
