"""One stage of training, top to bottom.

Shape suffixes: T = tokens of a micro-batch, E = experts.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor

from langraft.core.artifacts import explain_disk_errors
from langraft.core.errors import InterruptedRunError, TrainingError
from langraft.core.recipe import Languages
from langraft.core.stage import Stage
from langraft.core.training import Training
from langraft.curriculum.loader import IGNORED, Batch, PackedLoader
from langraft.families.weights import Part
from langraft.graft.expanded_ffn import use_experts
from langraft.graft.experts import ExpertBank
from langraft.graft.freeze import fingerprint_frozen, set_trainable
from langraft.graft.losses import SideLoss, TokenRoles, mean_over_layers
from langraft.graft.surgery import graft_info
from langraft.train.attention import attend_by_document
from langraft.train.checkpoint import Checkpoints
from langraft.train.compiled import compile_layers
from langraft.train.fill import fill_model
from langraft.train.limits import check_batch, find_slow, refuse_impossible, refuse_missing
from langraft.train.linears import fast_linears
from langraft.train.log import StageLog
from langraft.train.loss import TokenLosses
from langraft.train.mesh import check_mesh
from langraft.train.meter import StepMeter
from langraft.train.optimizer import learning_rate, make_optimizer
from langraft.train.parallel import (
    Processes,
    clip_gradients,
    gather_tensors,
    reshard_model,
    separate_meshes,
    shard_model,
)
from langraft.train.precision import keep_float32
from langraft.train.quantize import quantize_frozen
from langraft.train.read_ahead import ReadAhead
from langraft.train.recompute import recompute_layers
from langraft.train.sharing import StepSharing
from langraft.train.signals import note_stop_signals
from langraft.train.spikes import Spike, SpikeWatch

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
    sources: Mapping[str, Callable[[Part], Tensor]] | None = None,
) -> StageResult:
    """Train a grafted model for one stage, from its last checkpoint if there is one.

    Leaves ``weights.safetensors`` (what trained), ``log.jsonl`` and, until it is finished,
    ``checkpoints/`` in the folder.

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

    Raises:
        TrainingError: when the loss is not finite or spikes too often, or a frozen tensor moved.
        InterruptedRunError: on SIGTERM or SIGINT, after a checkpoint.
        ArtifactError: when the last checkpoint is damaged, or the disk is full.
    """
    info = graft_info(model)
    assert stage.trains is not None
    assert stage.losses is not None
    check_batch(training, processes.world_size)
    refuse_impossible(training, processes.world_size, processes.device.type)
    refuse_missing(training)
    if remark := find_slow(training, processes.device.type):
        console.print(f"  {remark}", highlight=False, soft_wrap=True)
    banks = [module for module in model.modules() if isinstance(module, ExpertBank)]
    check_mesh(training.mesh, processes.world_size, [len(bank.weight_in) for bank in banks])
    device, dtype = processes.device, getattr(torch, training.dtype)
    total_steps = num_steps(stage, training)
    tokens_per_step = training.batch_rows * training.sequence_length
    use_experts(model, training.experts)
    trained = set_trainable(model, stage.trains, token_rows=info.method.token_rows)
    if stage.trains == "everything" and info.earlier is not None:
        raise TrainingError(
            f"Stage {stage.name!r} trains everything, the earlier graft included, which a second "
            f"expansion leaves as it is. Name some of {', '.join(info.method.groups)}."
        )
    info.is_base_changed |= stage.trains == "everything"
    num_trained = sum(parameter.numel() for parameter in trained.values())
    if training.quantize_frozen and stage.trains != "everything":
        quantize_frozen(model, training.quantize_frozen, device)
    if sources is None:
        model.to(device)
    model.train()
    if training.activation_checkpointing:
        recompute_layers(model, training.activation_checkpointing)
    if training.compile:
        compile_layers(model)
    token_losses = TokenLosses(model, z_loss=training.z_loss)
    has_float32_residual = "residual" in training.keep_float32
    shard_model(
        token_losses,
        processes,
        dtype,
        mesh=training.mesh,
        has_float32_residual=has_float32_residual,
    )
    if sources is not None:
        fill_model(model, sources, device)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    frozen_before = fingerprint_frozen(model)
    optimizer = make_optimizer(trained, stage, training)
    separate_meshes(optimizer)
    sharing = StepSharing(token_losses, processes)
    checkpoints = Checkpoints(
        folder / "checkpoints", trained, optimizer, processes, every=training.checkpoint_every
    )
    step, progress = checkpoints.restore()
    log = StageLog(
        folder,
        f"{info.method.name} {stage.name}",
        total_steps,
        has_tensorboard=training.tensorboard,
        console=console if processes.is_leader else Console(quiet=True),
    )
    if processes.is_leader:
        log.rewind(step)
    losses = {name: (info.method.side_losses()[name], w) for name, w in stage.losses.items() if w}
    is_original = torch.tensor([languages.role(c) == "original" for c in languages.all]).to(device)
    seconds_before = progress.get("seconds", 0.0)
    started = time.monotonic()
    text = loader
    watch = SpikeWatch(training.spikes) if training.spikes else None
    if watch is not None:
        watch.restore(progress.get("watch"))
        text = loader.without(watch.left_out) if watch.spikes else loader
        if step == 0:
            checkpoints.save(0, {})  # a spike may come before the first that is due
    every_steps = max(1, round(gauge.every_tokens / tokens_per_step)) if gauge else 0

    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(note_stop_signals())
        stack.enter_context(keep_float32(model, training.keep_float32))
        stack.enter_context(attend_by_document(token_losses))
        read = partial(_micro_batches, training=training, processes=processes)
        reader = stack.enter_context(ReadAhead(read, total_steps))
        stack.enter_context(fast_linears())
        writer = stack.enter_context(log) if processes.is_leader else None
        while step < total_steps:
            step_started = time.monotonic()
            torch.manual_seed(_step_seed(seed, stage.name, step))
            rate = learning_rate(step, total_steps, stage)
            for group in optimizer.param_groups:
                group["lr"] = rate
            samples = _samples(step, training)
            meter = StepMeter(len(languages.all), device)
            batches = reader.batches(text, step)
            num_labels = processes.sum(
                torch.stack([(b.labels != IGNORED).sum() for b in batches]).sum().to(device)
            )
            for number, batch in enumerate(batches):
                sharing.begin_micro_batch(is_last=number == len(batches) - 1)
                loss = _micro_loss(
                    token_losses,
                    batch.to(device),
                    losses,
                    is_original,
                    num_labels=num_labels / processes.world_size,
                    num_micro=len(batches),
                    dtype=dtype,
                    meter=meter,
                )
                loss.backward()
            gradient_norm = clip_gradients(
                trained.values(), training.clip_norm, processes, training.mesh.replicate
            )
            record = meter.record(processes, languages.all)
            if not (math.isfinite(record["loss"]) and math.isfinite(gradient_norm)):
                raise _not_finite(
                    record["loss"], gradient_norm, step, stage, text, samples, checkpoints
                )
            if watch is not None and watch.is_spike(record["loss"]):
                optimizer.zero_grad()
                step = _rewind(step, record["loss"], watch, checkpoints, training, stage)
                text = loader.without(watch.left_out)
                console.print(_told(watch.spikes[-1]), highlight=False, soft_wrap=True)
                if writer is not None:
                    writer.rewind(step)
                continue
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            if watch is not None:
                watch.add(record["loss"])

            step_seconds = time.monotonic() - step_started
            if gauge is not None and (step % every_steps == 0 or step == total_steps):
                model.eval()
                with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                    record["heldout"] = dict(gauge.measure(lambda batch: token_losses(batch)[1]))
                model.train()
                reshard_model(token_losses)
            seconds = seconds_before + time.monotonic() - started
            if writer is not None:
                record |= {
                    "step": step,
                    "tokens": step * tokens_per_step,
                    "lr": rate,
                    "gradient_norm": gradient_norm,
                    "tokens_per_second": round(tokens_per_step / step_seconds, 1),
                    "data_share": round(reader.seconds_waited / step_seconds, 4),
                    "seconds": round(seconds, 3),
                }
                with explain_disk_errors(folder):
                    writer.write(record)
            is_stopping = processes.any(stop.number is not None)
            is_due = step % training.checkpoint_every == 0 and step < total_steps
            if is_due or is_stopping:
                progress = {"seconds": seconds} | ({"watch": watch.state()} if watch else {})
                saved = checkpoints.save(step, progress)
                if is_stopping:
                    raise InterruptedRunError(
                        stop.number or signal.SIGTERM,
                        f"Stopped after step {step} of {total_steps} of stage {stage.name!r}; "
                        f"saved in {saved}. Run the same command again to go on.",
                    )

    if fingerprint_frozen(model) != frozen_before:
        raise TrainingError(
            f"A frozen tensor changed during stage {stage.name!r}. This is a bug of langraft or of "
            f"a library under it; the stage's result is not used. It trained: {stage.trains}."
        )
    tensors = gather_tensors(trained, processes)
    if processes.is_leader:
        with explain_disk_errors(folder):
            save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    model.eval()
    return StageResult(
        num_steps=total_steps,
        num_tokens=total_steps * tokens_per_step,
        num_trained=num_trained,
        frozen_fingerprint=frozen_before,
        seconds=round(seconds_before + time.monotonic() - started, 3),
        spikes=watch.spikes if watch else [],
    )


def _samples(step: int, training: Training) -> range:
    return range(step * training.batch_rows, (step + 1) * training.batch_rows)


def _micro_batches(
    loader: PackedLoader, step: int, *, training: Training, processes: Processes
) -> list[Batch]:
    """Cut a step's samples into micro-batches and read this process's share of them."""
    samples, rows = _samples(step, training), training.micro_rows
    cuts = [samples[at : at + rows] for at in range(0, len(samples), rows)]
    batches = [loader.rows(cut) for cut in cuts[processes.rank :: processes.world_size]]
    return [b.pin_memory() for b in batches] if processes.device.type == "cuda" else batches


def _micro_loss(
    token_losses: TokenLosses,
    batch: Batch,
    side_losses: dict[str, tuple[SideLoss, float]],
    is_original: Tensor,
    *,
    num_labels: Tensor,
    num_micro: int,
    dtype: torch.dtype,
    meter: StepMeter,
) -> Tensor:
    """Return one micro-batch's part of the step's loss.

    Next-token losses and the z-loss are a mean over all labels of the step; side losses, which are
    means over tokens already, a mean over its micro-batches.
    """
    recorder = graft_info(token_losses.model).recorder
    autocast = torch.autocast(batch.input_ids.device.type, dtype, enabled=dtype != torch.float32)
    with recorder.recording() as routing_by_layer, autocast:
        total, nats_T = token_losses(batch)
        loss = total / num_labels
        languages_T = batch.language_ids.flatten()
        is_token_T = batch.is_token.flatten()
        roles = TokenRoles(
            is_token_T=is_token_T, is_original_T=is_original[languages_T] & is_token_T
        )
        for name, (side_loss, weight) in side_losses.items():
            value = mean_over_layers(side_loss, routing_by_layer, roles)
            loss = loss + weight * value / num_micro
            meter.add_side_loss(name, value.detach(), num_micro)
        meter.add_tokens(nats_T, batch.labels.flatten(), languages_T)
        meter.add_routing(routing_by_layer, languages_T, is_token_T)
    return loss


def _rewind(
    step: int,
    loss: float,
    watch: SpikeWatch,
    checkpoints: Checkpoints,
    training: Training,
    stage: Stage,
) -> int:
    """Go back to the last checkpoint that was due and leave out what was read since.

    One that a stop left in between is passed over, so a stopped run does what another does. The
    watch keeps the spike, the checkpoint does not: a run that is killed before the next one meets
    the same spike again and does the same.

    Returns:
        The checkpoint's step.

    Raises:
        TrainingError: when that has been done too often.
    """
    kept, progress = checkpoints.rewind()
    spike = Spike(
        step=step + 1,
        loss=loss,
        expected=watch.expected,
        rewound_to=kept,
        samples=(kept * training.batch_rows, (step + 1) * training.batch_rows),
    )
    if len(watch.spikes) == watch.settings.most:
        raise TrainingError(
            f"Stage {stage.name!r}, step {step + 1}: loss {loss:.3f} where {spike.expected:.3f} "
            f"was expected, after {len(watch.spikes)} rewinds, the most that training.spikes "
            f"allows. The last good checkpoint is {checkpoints.latest()}. Lower the stage's lr, "
            "set training.keep_float32 or z_loss, or raise spikes.deviations if this loss is no "
            "spike; then run again."
        )
    spikes = [*watch.spikes, spike]
    watch.restore(progress.get("watch"))
    watch.spikes = spikes
    return kept


def _told(spike: Spike) -> str:
    return (
        f"  Step {spike.step}: loss {spike.loss:.3f} where {spike.expected:.3f} was expected. Back "
        f"to step {spike.rewound_to}; the text in between ({spike.samples[1] - spike.samples[0]} "
        "rows) is left out."
    )


def _not_finite(
    loss: float,
    gradient_norm: float,
    step: int,
    stage: Stage,
    loader: PackedLoader,
    samples: range,
    checkpoints: Checkpoints,
) -> TrainingError:
    good = checkpoints.latest()
    documents = loader.documents(samples)
    shown = ", ".join(documents[:20]) + (", ..." if len(documents) > 20 else "")
    return TrainingError(
        f"Stage {stage.name!r}, step {step + 1}: loss {loss}, gradient norm {gradient_norm}. "
        f"The step was not taken. Its {len(documents)} documents: {shown}. Last good checkpoint: "
        f"{good or 'none, the stage began with finite weights'}. Lower the stage's lr, raise its "
        "warmup, or look at these documents; then run again."
    )


def _step_seed(seed: int, stage: str, step: int) -> int:
    """Seed dropout by (seed, stage, step), so that a resumed step draws what it would have."""
    return zlib.crc32(f"{seed}/{stage}/{step}".encode())
