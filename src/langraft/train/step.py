"""One training step: its micro-batches forward and backward, and its record for the log.

Shape suffixes: T = tokens of a micro-batch.
"""

from __future__ import annotations

import zlib
from typing import Any

import torch
from torch import Tensor

from langraft.core.settings.training import Training
from langraft.curriculum.loader import IGNORED, Batch, PackedLoader
from langraft.graft.moe.losses import TokenRoles, mean_over_layers
from langraft.train.meter import StepMeter
from langraft.train.prepare import PreparedStage
from langraft.train.processes.fsdp import clip_gradients
from langraft.train.processes.group import Processes
from langraft.train.retain import base_opinion, retained_tokens


def forward_backward(prepared: PreparedStage, batches: list[Batch]) -> dict[str, Any]:
    """Run a step's micro-batches forward and backward, and clip the gradient they leave.

    Args:
        prepared: The stage; gradients are empty before.
        batches: This process's micro-batches of the step.

    Returns:
        The step's part of the log, over all processes: losses, routing and ``gradient_norm``
        before clipping.
    """
    processes, training = prepared.processes, prepared.training
    meter = StepMeter(len(prepared.languages.all), processes.device)
    own_labels = torch.stack([(batch.labels != IGNORED).sum() for batch in batches]).sum()
    own_retained = torch.stack([retained_tokens(prepared, b).sum() for b in batches]).sum()
    counts = processes.sum(torch.stack([own_labels, own_retained]).to(processes.device))
    num_retained = counts[1].clamp(min=1)
    num_next = (counts[0] - counts[1]).clamp(min=1)
    for number, batch in enumerate(batches):
        prepared.gradient_sync.begin_micro_batch(is_last=number == len(batches) - 1)
        loss = micro_loss(
            prepared,
            batch.to(processes.device),
            # FSDP2 takes the mean of the gradients of all processes.
            num_next=num_next / processes.world_size,
            num_retained=num_retained / processes.world_size,
            num_micro=len(batches),
            meter=meter,
        )
        loss.backward()
    gradient_norm = clip_gradients(
        prepared.trained.values(), training.clip_norm, processes, training.mesh.replicate
    )
    record = meter.record(processes, prepared.languages.all)
    return record | {"gradient_norm": gradient_norm}


def micro_loss(
    prepared: PreparedStage,
    batch: Batch,
    *,
    num_next: Tensor,
    num_retained: Tensor,
    num_micro: int,
    meter: StepMeter,
) -> Tensor:
    """Return one micro-batch's part of the step's loss, shape ().

    Next-token losses and the z-loss are a mean over the step's labels, ``retain`` over those whose
    next-token loss it replaces; side losses, which are means over tokens already, a mean over its
    micro-batches.
    """
    opinion = base_opinion(prepared, batch, num_next / num_retained)
    with prepared.info.recorder.recording() as routing_by_layer, prepared.autocast():
        found = prepared.token_losses(batch, opinion)
        loss = found.total / num_next
        languages_T = batch.language_ids.flatten()
        is_token_T = batch.is_token.flatten()
        roles = TokenRoles(
            is_token_T=is_token_T, is_original_T=prepared.is_original[languages_T] & is_token_T
        )
        for name, (side_loss, weight) in prepared.side_losses.items():
            value = mean_over_layers(side_loss, routing_by_layer, roles)
            loss = loss + weight * value / num_micro
            meter.add_side_loss(name, value.detach(), num_micro)
        if opinion is not None:
            meter.add_divergence(found.divergence_T, opinion.place_T >= 0, languages_T)
        meter.add_tokens(found.nats_T, batch.labels.flatten(), languages_T)
        meter.add_routing(routing_by_layer, languages_T, is_token_T)
    return loss


def samples_of(step: int, training: Training) -> range:
    """Return the numbers of the rows that all processes read in a step (from 0)."""
    return range(step * training.batch_rows, (step + 1) * training.batch_rows)


def micro_batches(
    loader: PackedLoader, step: int, *, training: Training, processes: Processes
) -> list[Batch]:
    """Split a step's rows into micro-batches and read those of this process."""
    samples, rows = samples_of(step, training), training.micro_rows
    cuts = [samples[at : at + rows] for at in range(0, len(samples), rows)]
    batches = [loader.rows(cut) for cut in cuts[processes.rank :: processes.world_size]]
    return [b.pin_memory() for b in batches] if processes.device.type == "cuda" else batches


def step_seed(seed: int, stage: str, step: int) -> int:
    """Seed dropout by (seed, stage, step), so that a resumed step draws what it would have."""
    return zlib.crc32(f"{seed}/{stage}/{step}".encode())
