"""What every file in ``train/trackers/`` keeps; a new one adds a line to READERS."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from stage_setup import LANGUAGES, grafted, make_loader, stage, training, write_shards

from langraft.curriculum.loader import Batch, PackedLoader
from langraft.train.log import read_log
from langraft.train.loop import train_stage
from langraft.train.processes.group import Processes
from langraft.train.trackers import TRACKERS
from langraft.train.tracking.tracker import TrackedRun, flat_figures, run_id
from langraft.train.tracking.tracking import summarize
from waiting import wait_for

Points = dict[str, list[tuple[int, float]]]  # by name, each step and its value


def read_tensorboard(folder: Path) -> Points:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (run,) = {path.parent for path in (folder / "tensorboard").rglob("events*")}
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    return {n: [(e.step, e.value) for e in events.Scalars(n)] for n in events.Tags()["scalars"]}


def read_mlflow(folder: Path) -> Points:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(folder / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("langraft")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "small/extend"
    assert run.data.params["languages.0"] == "el"
    return {
        name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def read_wandb(folder: Path) -> Points:
    """Read the records of all sessions; a summary that was set stands at step 0."""
    files = sorted((folder / "wandb").glob("*run-*/*.wandb"))
    assert len({path.name for path in files}) == 1, "sessions have different ids"
    points: Points = {}
    for record in (record for path in files for record in wandb_records(path)):
        if record.HasField("run"):
            assert record.run.display_name == "small/extend"
        if record.HasField("history"):
            items = {i.key or i.nested_key[0]: i.value_json for i in record.history.item}
            for name, value in items.items():
                if not name.startswith("_"):
                    point = (int(items["_step"]), json.loads(value))
                    points.setdefault(name, []).append(point)
        if record.HasField("summary"):
            for item in record.summary.update:
                if item.key.startswith("scorecard/"):
                    points[item.key] = [(0, json.loads(item.value_json))]
    return points


def wandb_records(path: Path) -> Iterator[Any]:
    """Yield the records of a file: blocks of 32 KiB of chunks, as LevelDB writes its log."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        if at + 7 + length > len(data):
            return  # still being written
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(whole)
            whole = b""


READERS: dict[str, Callable[[Path], Points]] = {
    "mlflow": read_mlflow,
    "tensorboard": read_tensorboard,
    "wandb": read_wandb,
}


def read(tracker: str, folder: Path, name: str, step: int) -> Points:
    """Read what was tracked, once a figure is there: W&B writes in a process of its own."""
    wait_for(
        lambda: step in dict(READERS[tracker](folder).get(name, [])),
        f"{name} in {tracker}",
        seconds=60,
    )
    return READERS[tracker](folder)


@pytest.fixture(params=list(TRACKERS))
def tracker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    assert request.param in READERS, f"add a reader for the tracker {request.param!r} above"
    pytest.importorskip(TRACKERS[request.param].package)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return request.param


@pytest.fixture
def loader(tmp_path: Path) -> PackedLoader:
    write_shards(tmp_path / "shards")
    return make_loader(tmp_path / "shards")


class Killed:
    """A loader that fails when a step asks for a sample, as a kill would end the process."""

    def __init__(self, loader: PackedLoader, sample: int) -> None:
        self._loader, self._sample = loader, sample
        self.index = loader.index

    def rows(self, samples: range) -> Batch:
        if self._sample in samples:
            raise RuntimeError("killed")
        return self._loader.rows(samples)


def tracked(folder: Path, stage_folder: Path) -> TrackedRun:
    return TrackedRun(
        id=run_id(stage_folder),
        recipe="small",
        stage="extend",
        config={"languages": ["el", "en"]},
        folder=folder,
    )


def train(tracker: str, loader: Any, tmp_path: Path, rank: int = 0) -> str:
    """Train a stage and return what it printed."""
    folder, printed = tmp_path / "train-extend", io.StringIO()
    folder.mkdir(exist_ok=True)
    train_stage(
        grafted(),
        stage=stage(),
        training=training(track=(tracker,)),
        languages=LANGUAGES,
        loader=loader,
        seed=0,
        folder=folder,
        processes=Processes(rank, 1, torch.device("cpu")),
        console=Console(file=printed, width=200),
        tracked=tracked(tmp_path / "tracking", folder),
    )
    return printed.getvalue()


def logged(tmp_path: Path) -> Points:
    points: Points = {}
    for record in read_log(tmp_path / "train-extend"):
        step = record.pop("step")
        for name, value in flat_figures(record).items():
            points.setdefault(name, []).append((step, pytest.approx(value, rel=1e-6)))
    return points


def test_a_resumed_stage_is_one_run_with_every_figure_of_the_log_once(
    tracker: str, loader: PackedLoader, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        train(tracker, Killed(loader, sample=20), tmp_path)
    printed = train(tracker, loader, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]  # a run refuses links
    assert f"{tracker}: " in printed
    assert "Warning" not in printed
    found, expected = read(tracker, tmp_path / "tracking", "loss", 10), logged(tmp_path)
    # What a step took is measured again when it is repeated; everything else is the same.
    times = {"tokens_per_second", "data_share", "seconds"}
    assert {n: p for n, p in found.items() if n not in times} == {
        n: p for n, p in expected.items() if n not in times
    }
    assert [step for step, _ in found["seconds"]] == [step for step, _ in expected["seconds"]]
    assert len(expected["loss"]) == 10


def test_a_scorecard_becomes_the_summary_of_the_run(
    tracker: str, loader: PackedLoader, tmp_path: Path
) -> None:
    train(tracker, loader, tmp_path)
    run = tracked(tmp_path / "tracking", tmp_path / "train-extend")
    summarize(run, [tracker], Console(quiet=True), {"scorecard/gain": 0.25})
    points = read(tracker, tmp_path / "tracking", "scorecard/gain", 0)
    assert points["scorecard/gain"] == [(0, 0.25)]
    assert points["loss"] == logged(tmp_path)["loss"]


def test_a_tracker_that_cannot_write_is_one_warning_and_training_goes_on(
    tracker: str, loader: PackedLoader, tmp_path: Path
) -> None:
    (tmp_path / "tracking").write_text("a file where the folder should be")
    printed = train(tracker, loader, tmp_path)
    assert printed.count("Warning") == 1
    assert f"{tracker} is told no more of small/extend" in printed
    assert len(read_log(tmp_path / "train-extend")) == 10


def test_only_the_first_process_logs(tracker: str, loader: PackedLoader, tmp_path: Path) -> None:
    assert tracker not in train(tracker, loader, tmp_path, rank=1)
    assert not (tmp_path / "tracking").exists()
