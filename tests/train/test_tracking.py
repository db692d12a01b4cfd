from __future__ import annotations

import importlib.util
import io
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from langraft.core.errors import MissingExtraError, RecipeError
from langraft.train.log import StageLog
from langraft.train.tracking.background import BackgroundTracker
from langraft.train.tracking.credentials import (
    config_without_credentials,
    without_credentials,
)
from langraft.train.tracking.tracker import TrackedRun, noted_run_id, run_id
from langraft.train.tracking.tracking import Tracking, check_trackers


def tracked(folder: Path) -> TrackedRun:
    return TrackedRun(id="abc", recipe="small", stage="extend", config={}, folder=folder)


def tracking(folder: Path, rewinds_to_every: int | None = 10) -> Tracking:
    return Tracking(
        tracked(folder),
        ["tensorboard"],
        Console(quiet=True),
        num_steps=25,
        rewinds_to_every=rewinds_to_every,
    )


def record(step: int, loss: float) -> Mapping[str, float]:
    return {"step": step, "loss": loss}


def losses(folder: Path) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder / "tensorboard/extend-abc"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("loss")]


def test_steps_that_a_spike_undoes_are_never_sent_and_their_repeats_are(tmp_path: Path) -> None:
    run = tracking(tmp_path)
    run.restore([])
    run.open()
    for step in range(1, 18):
        run.add(record(step, 1.0))
    run.rewind(10)
    for step in range(11, 26):
        run.add(record(step, 2.0))
    run.close(is_finished=True)
    assert losses(tmp_path) == [(step, 1.0 if step <= 10 else 2.0) for step in range(1, 26)]


def test_a_later_session_sends_what_the_one_before_held_back(tmp_path: Path) -> None:
    first = tracking(tmp_path)
    first.restore([])
    first.open()
    for step in range(1, 14):
        first.add(record(step, 1.0))
    first.close(is_finished=False)
    assert [step for step, _ in losses(tmp_path)] == [*range(1, 11)]
    second = tracking(tmp_path)
    second.restore([record(step, 1.0) for step in range(1, 14)])
    second.rewind(12)  # the checkpoint that it goes on from
    second.open()
    for step in range(13, 26):
        second.add(record(step, 1.0))
    second.close(is_finished=True)
    assert [step for step, _ in losses(tmp_path)] == [*range(1, 26)]


def test_no_key_and_no_network_are_one_warning_each_without_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:word@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    printed = io.StringIO()
    tracker = BackgroundTracker("mlflow", tracked(tmp_path), Console(file=printed, width=100))
    for step in range(1, 4):
        tracker.log(step, {"loss": 1.0})
    tracker.close(is_finished=True)
    assert printed.getvalue().count("Warning: mlflow is told no more of small/extend") == 1
    assert "word" not in printed.getvalue()


def test_a_tracker_that_never_answers_holds_the_end_up_for_a_while_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("langraft.train.tracking.background.CLOSE_SECONDS", 0.1)
    printed = io.StringIO()
    tracker = BackgroundTracker("tensorboard", tracked(tmp_path), Console(file=printed, width=100))
    tracker._calls.put(lambda _: time.sleep(2))
    started = time.monotonic()
    tracker.close(is_finished=True)
    assert time.monotonic() - started < 1
    assert "did not answer" in printed.getvalue()


def test_an_unknown_tracker_and_a_missing_library_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_trackers(["tensorboard"])
    with pytest.raises(RecipeError, match="Did you mean 'wandb'"):
        check_trackers(["wandbb"])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"\[track\]"):
        check_trackers(["mlflow"])


def test_the_id_of_a_stage_stays_until_its_folder_goes(tmp_path: Path) -> None:
    assert noted_run_id(tmp_path) is None
    assert run_id(tmp_path) == run_id(tmp_path) == noted_run_id(tmp_path)
    (tmp_path / "tracked.json").write_text("{")
    assert noted_run_id(tmp_path) is None


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("https://me:word@host/x.jsonl?token=abc", "https://host/x.jsonl?..."),
        ("s3://bucket/part-?.jsonl", "s3://bucket/part-?.jsonl"),
        ("cannot reach http://me:word@host:9: refused", "cannot reach http://host:9: refused"),
        ("data/el.jsonl", "data/el.jsonl"),
    ],
)
def test_addresses_lose_their_credentials_and_nothing_else(given: str, left: str) -> None:
    assert without_credentials(given) == left
    config = config_without_credentials({"corpus": [{"path": given, "tokens": 3}]})
    assert config == {"corpus": [{"path": left, "tokens": 3}]}


def test_a_log_without_a_terminal_says_how_far_it_is_and_what_is_left(tmp_path: Path) -> None:
    printed = io.StringIO()
    log = StageLog(
        tmp_path, "moe_lpr extend", 20, tokens_per_step=65536, console=Console(file=printed)
    )
    log.rewind(0)
    with log:
        for step in range(1, 5):
            log.write(
                {
                    "step": step,
                    "loss": 2.3456,
                    "tokens_per_second": 12345.6,
                    "loss_by_language": {"el": 2.5},
                }
            )
    lines = printed.getvalue().splitlines()
    assert len(lines) == 2
    done = "  moe_lpr extend 4/20  262.1k of 1.311M tokens  loss 2.346  12,346 tok/s  "
    assert lines[1].startswith(done)
    assert lines[1].endswith(" s left  el 2.50")
