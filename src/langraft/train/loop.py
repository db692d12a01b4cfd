"""One stage of training, top to bottom: prepare, step after step, finish."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from langraft.core.errors import TrainingError
from langraft.core.settings.languages import Languages
from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.core.system_errors import explain_disk_errors
from langraft.curriculum.loader import Batch, PackedLoader
from langraft.families.tensors import ReadPart, save_tensors
from langraft.graft.freeze import fingerprint_frozen
from langraft.train.compute.document_attention import attend_by_document
from langraft.train.compute.precision import keep_float32
from langraft.train.optimizer import set_learning_rate
from langraft.train.prepare import PreparedStage, prepare_stage
from langraft.train.processes.fsdp import gather_tensors, reshard_model
from langraft.train.processes.group import Processes
from langraft.train.progress import StageProgress
from langraft.train.read_ahead import ReadAhead
from langraft.train.signals import StopSignal, note_stop_signals
from langraft.train.spikes import Spike
from langraft.train.step import forward_backward, micro_batches, step_seed
from langraft.train.tracking.tracker import TrackedRun

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """What is measured of the model while it trains.

    Attributes:
        every_tokens: How often, rounded to whole steps.
        measure: Returns bits per byte by language, from what returns the losses of a batch. All
            processes call it; the model is in evaluation mode.
    """

    every_tokens: int
    measure: Callable[[Callable[[Batch], Tensor]], Mapping[str, float]]

    def is_due(self, progress: StageProgress, tokens_per_step: int) -> bool:
        """Say whether to measure after the step just taken; always after the last."""
        every_steps = max(1, round(self.every_tokens / tokens_per_step))
        return progress.step % every_steps == 0 or progress.step == progress.total_steps


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a finished stage did.

    Attributes:
        num_steps: Optimizer steps.
        num_tokens: Tokens trained on.
        num_trained: Trained parameters.
        frozen_fingerprint: Of all frozen tensors, the same before and after.
        seconds: Wall time of training over all sessions.
        spikes: Steps that were not taken, and the text left out with them.
    """

    num_steps: int
    num_tokens: int
    num_trained: int
    frozen_fingerprint: str
    seconds: float
    spikes: list[Spike] = field(default_factory=list[Spike])


def num_steps(stage: Stage, training: Training) -> int:
    """Return the steps of a stage: its tokens, rounded up to whole steps."""
    return math.ceil(stage.tokens / (training.batch_rows * training.sequence_length))


def num_samples(stage: Stage, training: Training) -> int:
    """Return the rows that a stage trains on."""
    return num_steps(stage, training) * training.batch_rows


def train_stage(
    model: Any,
    *,
    stage: Stage,
    training: Training,
    languages: Languages,
    loader: PackedLoader,
    seed: int,
    folder: Path,
    processes: Processes,
    console: Console,
    gauge: Gauge | None = None,
    sources: Mapping[str, ReadPart] | None = None,
    tracked: TrackedRun | None = None,
) -> StageResult:
    """Train a grafted model for one stage, from its last checkpoint if there is one.

    Leaves ``weights.safetensors`` (what trained), ``log.jsonl`` and, until the stage is recorded as
    finished, ``checkpoints/`` in the folder.

    Args:
        model: Grafted, in the state in which the stage begins; changed in place.
        stage: Complete: ``trains`` and ``losses`` are filled in.
        training: Batch shape, precision, optimizer.
        languages: Fixes language ids and roles.
        loader: Of the stage's mixture.
        seed: Of the run.
        folder: Owned by the stage.
        processes: All of them call this together.
        console: Where the progress bar goes.
        gauge: Measures the model on the way, into the log's ``heldout``.
        sources: Of a model without weights, what reads a part of each parameter once it is known
            which process needs which.
        tracked: What the stage is called at the trackers that ``training`` names; None: tell none.

    Raises:
        TrainingError: when the loss is not finite or spikes too often, or a frozen tensor moved.
        InterruptedRunError: on SIGTERM or SIGINT, after a checkpoint.
        ArtifactError: when the last checkpoint is damaged, or the disk is full.
    """
    prepared = prepare_stage(
        model,
        stage=stage,
        training=training,
        languages=languages,
        processes=processes,
        console=console,
        sources=sources,
    )
    total_steps = num_steps(stage, training)
    progress = StageProgress(
        prepared,
        loader,
        total_steps=total_steps,
        folder=folder,
        console=console,
        tracked=tracked,
    )
    _train(prepared, progress, seed=seed, folder=folder, gauge=gauge)
    return _finish(prepared, progress, folder)


def _train(
    prepared: PreparedStage,
    progress: StageProgress,
    *,
    seed: int,
    folder: Path,
    gauge: Gauge | None,
) -> None:
    """Run the remaining steps."""
    stage, optimizer = prepared.stage, prepared.optimizer
    with _opened(prepared, progress) as (reader, stop):
        while progress.step < progress.total_steps:
            started = time.monotonic()
            torch.manual_seed(step_seed(seed, stage.name, progress.step))
            rate = set_learning_rate(optimizer, progress.step, progress.total_steps, stage)
            batches = reader.batches(progress.text, progress.step)

            record = forward_backward(prepared, batches)
            if not (math.isfinite(record["loss"]) and math.isfinite(record["gradient_norm"])):
                raise progress.not_finite(record)
            if progress.is_spike(record["loss"]):
                optimizer.zero_grad()
                progress.rewind(record["loss"])
                continue
            optimizer.step()
            optimizer.zero_grad()
            progress.advance(record["loss"])

            step_seconds = time.monotonic() - started
            if gauge is not None and gauge.is_due(progress, prepared.tokens_per_step):
                record["heldout"] = _measure(gauge, prepared)
            record |= {
                "step": progress.step,
                "tokens": progress.step * prepared.tokens_per_step,
                "lr": rate,
                "tokens_per_second": round(prepared.tokens_per_step / step_seconds, 1),
                "data_share": round(reader.seconds_waited / step_seconds, 4),
                "seconds": round(progress.seconds, 3),
            }
            with explain_disk_errors(folder):
                progress.log.write(record)
            progress.save_if_due(stop.number)


@contextlib.contextmanager
def _opened(
    prepared: PreparedStage, progress: StageProgress
) -> Generator[tuple[ReadAhead, StopSignal]]:
    """Enter the contexts of a stage: stop signals, precision, attention, reader, log."""
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(note_stop_signals())
        stack.enter_context(keep_float32(prepared.model, prepared.training.keep_float32))
        stack.enter_context(attend_by_document(prepared.token_losses))
        read = partial(micro_batches, training=prepared.training, processes=prepared.processes)
        reader = stack.enter_context(ReadAhead(read, progress.total_steps))
        stack.enter_context(progress.log)
        yield reader, stop


def _measure(gauge: Gauge, prepared: PreparedStage) -> dict[str, float]:
    """Return bits per byte of held-out text by language."""
    prepared.model.eval()
    with prepared.autocast():
        found = dict(gauge.measure(lambda batch: prepared.token_losses(batch).nats_T))
    prepared.model.train()
    reshard_model(prepared.token_losses)
    return found


def _finish(prepared: PreparedStage, progress: StageProgress, folder: Path) -> StageResult:
    """Prove that nothing frozen moved, and write what trained."""
    stage = prepared.stage
    if fingerprint_frozen(prepared.model) != prepared.frozen_fingerprint:
        raise TrainingError(
            f"A frozen tensor changed during stage {stage.name!r}. This is a bug of langraft or of "
            f"a library under it; the stage's result is not used. It trained: {stage.trains}."
        )
    tensors = gather_tensors(prepared.trained, prepared.processes)
    if prepared.processes.is_leader:
        with explain_disk_errors(folder):
            save_tensors(folder / WEIGHTS, tensors)
    prepared.model.eval()
    return StageResult(
        num_steps=progress.total_steps,
        num_tokens=progress.total_steps * prepared.tokens_per_step,
        num_trained=prepared.num_trained,
        frozen_fingerprint=prepared.frozen_fingerprint,
        seconds=round(progress.seconds, 3),
        spikes=progress.spikes,
    )
