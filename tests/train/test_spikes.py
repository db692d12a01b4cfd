from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from stage_setup import LANGUAGES, grafted, stage, training

from langraft.core.errors import InterruptedRunError, TrainingError
from langraft.core.settings.training import Spikes
from langraft.corpus.storage.shards import ShardWriter, TokenShards
from langraft.curriculum.index import MixtureIndex
from langraft.curriculum.loader import Batch, PackedLoader
from langraft.curriculum.schedule import MixtureSchedule
from langraft.train.log import read_log
from langraft.train.loop import WEIGHTS, StageResult, train_stage
from langraft.train.processes.group import Processes
from langraft.train.spikes import SpikeWatch
from tiny import VOCAB_SIZE

NUM_STEPS = 40
BAD_STEP = 25  # from 0


class Poisoned:
    """A loader in which the text that some samples would read is noise, wherever it is read."""

    def __init__(self, loader: PackedLoader, bad: set[tuple[str, int, int]]) -> None:
        self._loader, self._bad = loader, bad
        self.index = loader.index

    def without(self, windows: Sequence[range]) -> Poisoned:
        return Poisoned(self._loader.without(windows), self._bad)

    def rows(self, samples: range) -> Batch:
        batch = self._loader.rows(samples)
        labels = batch.labels.clone()
        for row, sample in enumerate(samples):
            place = self.index.locate(sample)
            if (place.stream, place.epoch, place.row) in self._bad:
                labels[row] = torch.where(labels[row] >= 0, VOCAB_SIZE - 1, labels[row])
        return replace(batch, labels=labels)

    def documents(self, samples: range) -> list[str]:
        return self._loader.documents(samples)


@pytest.fixture
def loader(tmp_path: Path) -> PackedLoader:
    """Text that is soon predicted: each document repeats three tokens."""
    for number, code in enumerate(LANGUAGES.all):
        writer = ShardWriter(tmp_path / code, VOCAB_SIZE)
        for document in range(120):
            tokens = torch.arange(document, document + 40) % 3 + 10 + 100 * number
            writer.add(tokens.numpy(), f"{code}-{document}")
        writer.close()
    shards = {code: TokenShards(tmp_path / code) for code in LANGUAGES.all}
    rows = {code: shard.num_tokens // 16 for code, shard in shards.items()}
    schedule = MixtureSchedule({"en": 1.0, "el": 1.0})
    return PackedLoader(MixtureIndex(schedule, rows, 0, "extend"), shards, LANGUAGES.all, 16)


def poisoned(loader: PackedLoader, *steps: int) -> Any:
    places = [loader.index.locate(4 * step + row) for step in steps for row in range(4)]
    return Poisoned(loader, {(p.stream, p.epoch, p.row) for p in places})


def train(loader: Any, folder: Path, *, most: int = 10, has_spikes: bool = True) -> StageResult:
    folder.mkdir(exist_ok=True)
    spikes = {"window": 8, "deviations": 8.0, "most": most} if has_spikes else None
    return train_stage(
        grafted(),
        stage=stage(tokens=NUM_STEPS * 64, mixture={"en": 1, "el": 1}),
        training=training(checkpoint_every=10, spikes=spikes),
        languages=LANGUAGES,
        loader=loader,
        seed=0,
        folder=folder,
        processes=Processes(0, 1, torch.device("cpu")),
        console=Console(quiet=True),
    )


def test_a_spike_goes_back_to_the_last_checkpoint_and_leaves_the_text_out(
    loader: PackedLoader, tmp_path: Path
) -> None:
    result = train(poisoned(loader, BAD_STEP), tmp_path / "run")
    (spike,) = result.spikes
    assert spike.step == BAD_STEP + 1
    assert spike.rewound_to == 20
    assert spike.samples == (80, 4 * BAD_STEP + 4)
    assert spike.loss > 2 * spike.expected
    records = read_log(tmp_path / "run")
    assert [record["step"] for record in records] == list(range(1, NUM_STEPS + 1))
    assert max(record["loss"] for record in records[20:]) < spike.loss / 2


def test_without_the_option_the_same_text_is_trained_on(
    loader: PackedLoader, tmp_path: Path
) -> None:
    result = train(poisoned(loader, BAD_STEP), tmp_path / "run", has_spikes=False)
    records = read_log(tmp_path / "run")
    assert result.spikes == []
    assert records[BAD_STEP]["loss"] > 2 * records[BAD_STEP - 1]["loss"]


def test_a_rewound_stage_equals_one_that_never_had_the_text(
    loader: PackedLoader, tmp_path: Path
) -> None:
    train(poisoned(loader, BAD_STEP), tmp_path / "rewound")
    window = range(80, 4 * BAD_STEP + 4)
    train(loader.without([window]), tmp_path / "never")
    rewound, never = (load_file(tmp_path / name / WEIGHTS) for name in ("rewound", "never"))
    assert all(torch.equal(rewound[name], never[name]) for name in never)


@pytest.mark.parametrize(
    "crash_at", [22, 28, *(pytest.param(n, marks=pytest.mark.thorough) for n in (24, 33))]
)
def test_a_run_killed_around_a_spike_goes_on_as_if_it_had_not_been(
    loader: PackedLoader, tmp_path: Path, crash_at: int
) -> None:
    train(poisoned(loader, BAD_STEP), tmp_path / "whole")

    class Killed(Poisoned):
        def without(self, windows: Sequence[range]) -> Poisoned:
            killed = Killed(self._loader.without(windows), self._bad)
            killed.has_rewound = True
            return killed

        has_rewound = False

        def rows(self, samples: range) -> Batch:
            if self.has_rewound and samples.start >= 4 * crash_at:
                raise KeyboardInterrupt
            return super().rows(samples)

    healthy = poisoned(loader, BAD_STEP)
    with pytest.raises(KeyboardInterrupt):
        train(Killed(loader, healthy._bad), tmp_path / "resumed")
    result = train(healthy, tmp_path / "resumed")
    whole, resumed = (load_file(tmp_path / name / WEIGHTS) for name in ("whole", "resumed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert len(result.spikes) == 1


def test_a_run_stopped_between_checkpoints_goes_back_as_far_as_another(
    loader: PackedLoader, tmp_path: Path
) -> None:
    train(poisoned(loader, BAD_STEP), tmp_path / "whole")

    class Stopping(Poisoned):
        def rows(self, samples: range) -> Batch:
            if samples.start == 4 * 22:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().rows(samples)

    bad = poisoned(loader, BAD_STEP)
    with pytest.raises(InterruptedRunError):
        train(Stopping(loader, bad._bad), tmp_path / "resumed")
    result = train(bad, tmp_path / "resumed")
    assert [spike.rewound_to for spike in result.spikes] == [20]
    whole, resumed = (load_file(tmp_path / name / WEIGHTS) for name in ("whole", "resumed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_two_spikes_after_one_checkpoint_are_both_left_out(
    loader: PackedLoader, tmp_path: Path
) -> None:
    # Left out with the first: samples 80..103. The rows behind them move up, the second among them.
    result = train(poisoned(loader, BAD_STEP, BAD_STEP + 3), tmp_path / "run")
    assert len(result.spikes) == 2
    assert {spike.rewound_to for spike in result.spikes} == {20}


def test_too_many_spikes_stop_the_stage_and_keep_the_checkpoint(
    loader: PackedLoader, tmp_path: Path
) -> None:
    bad = poisoned(loader, BAD_STEP, BAD_STEP + 3)
    with pytest.raises(TrainingError, match=r"after 1 rewinds.*lr.*keep_float32"):
        train(bad, tmp_path / "run", most=1)
    assert (tmp_path / "run" / "checkpoints" / "step-00000020").is_dir()


def test_a_window_that_is_not_full_expects_nothing() -> None:
    watch = SpikeWatch(Spikes(window=8))
    for _ in range(7):
        watch.add(2.0)
    assert not watch.is_spike(1e6)
    watch.add(2.0)
    assert watch.is_spike(2.1)
    assert not watch.is_spike(2.0)


def test_a_loss_that_always_jumps_about_is_no_spike() -> None:
    watch = SpikeWatch(Spikes(window=8, deviations=8))
    for number in range(8):
        watch.add(2.0 + number % 2)
    assert not watch.is_spike(4.0)
    assert watch.is_spike(20.0)


def test_rows_left_out_are_read_by_nobody_and_shares_stay(loader: PackedLoader) -> None:
    window = range(40, 60)
    index = loader.index.without([window])
    places = [index.locate(sample) for sample in range(200)]
    gone = {(p.stream, p.row) for p in (loader.index.locate(sample) for sample in window)}
    assert not gone & {(p.stream, p.row) for p in places[40:]}
    assert [p.stream for p in places] == [loader.index.locate(n).stream for n in range(200)]
    assert places[:40] == [loader.index.locate(sample) for sample in range(40)]
