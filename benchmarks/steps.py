"""What a contender does in a round: steps of langraft's own loop, or of plain PyTorch."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from contenders import Shape, stage, training
from real_text import LANGUAGES, LaterLoader
from rich.console import Console
from torch import Tensor

from langraft.core.settings.languages import Languages
from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.curriculum.loader import IGNORED, Batch, PackedLoader
from langraft.graft.moe.losses import balance_loss, language_prior_loss
from langraft.graft.surgery import graft_info
from langraft.train.log import read_log
from langraft.train.loop import train_stage
from langraft.train.processes.group import Processes

Steps = Callable[[int], list[float]]
"""Takes so many steps and returns the seconds of each."""


def own_steps(
    model: Any,
    shape: Shape,
    name: str,
    dtype: str,
    loader: Any,
    processes: Processes,
    *,
    languages: Languages = LANGUAGES,
    **changes: Any,
) -> Steps:
    """Return what runs the steps of a graft of a shape.

    Args:
        model: A graft.
        shape: Of its steps.
        name: ``extend`` or ``review``.
        dtype: As the recipe says it.
        loader: Read on from where the last round ended.
        processes: One, or those of torchrun.
        languages: Of the loader.
        changes: Other settings of ``training``.
    """
    settings, make_stage = training(shape, dtype, **changes), partial(stage, shape, name)
    return stage_steps(model, settings, make_stage, loader, processes, languages=languages)


def stage_steps(
    model: Any,
    settings: Training,
    make_stage: Callable[[int], Stage],
    loader: Any,
    processes: Processes,
    *,
    languages: Languages = LANGUAGES,
) -> Steps:
    """Return what runs ``train_stage`` itself; the log says how long each step took.

    Args:
        model: A graft.
        settings: Of its steps.
        make_stage: Returns a stage of so many steps.
        loader: Read on from where the last round ended.
        processes: One, or those of torchrun.
        languages: Of the loader.
    """
    num_read, tokens_per_step = 0, settings.batch_rows * settings.sequence_length

    def run(num_steps: int) -> list[float]:
        nonlocal num_read
        later = LaterLoader(loader, num_read)
        num_read += num_steps * settings.batch_rows
        with tempfile.TemporaryDirectory() as folder:
            train_stage(
                model,
                stage=make_stage(num_steps),
                training=settings,
                languages=languages,
                loader=later,
                seed=0,
                folder=Path(folder),
                processes=processes,
                console=Console(quiet=True),
            )
            records = read_log(Path(folder)) if processes.is_leader else []
            speeds = [record["tokens_per_second"] for record in records]
        return [tokens_per_step / speed for speed in speeds]

    return run


def peer_steps(
    model: Any,
    shape: Shape,
    loader: PackedLoader,
    device: str,
    *,
    is_autocast: bool,
    side_loss: Callable[[Batch], Tensor] | None = None,
) -> Steps:
    """Return what trains all that is not frozen as anybody would: no accumulation, fused AdamW."""
    model.to(device).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.95), fused=True)

    firsts = itertools.count(step=shape.rows)

    def step() -> float:
        started = time.perf_counter()
        first = next(firsts)
        batch = loader.rows(range(first, first + shape.rows)).to(torch.device(device))
        with torch.autocast(device, torch.bfloat16, enabled=is_autocast):
            loss = next_token_loss(model, batch)
            if side_loss is not None:
                loss = loss + side_loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0, foreach=True)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    return lambda num_steps: [step() for _ in range(num_steps)]


def next_token_loss(model: Any, batch: Batch) -> Tensor:
    """Return the mean loss in nats, from whole logits in float32, as transformers computes it."""
    logits = model(
        input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False
    ).logits
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), batch.labels.flatten(), ignore_index=IGNORED
    )


def loop_side_loss(model: Any, shape: Shape, name: str) -> Callable[[Batch], Tensor]:
    """Return the reference's side loss of a stage, over the layers that have just run."""
    num_original = len(LANGUAGES.original)

    def of_layer(logits_TE: Tensor, batch: Batch) -> Tensor:
        if name == "extend":
            return 0.01 * balance_loss(logits_TE, batch.is_token.flatten(), shape.top_k)
        log_original_T = logits_TE.float().log_softmax(dim=-1)[:, 0]
        is_original_T = (batch.language_ids < num_original).flatten()
        return 0.1 * language_prior_loss(log_original_T, is_original_T)

    def side_loss(batch: Batch) -> Tensor:
        layers = model.model.layers
        return torch.stack([of_layer(layer.mlp.logits_TE, batch) for layer in layers]).mean()

    return side_loss


@torch.no_grad()
def expert_load(model: Any, batch: Batch, device: str) -> list[float]:
    """Return the share of a batch's assignments that goes to each expert, original first."""
    model.to(device)
    dtype = next(model.parameters()).dtype
    autocast = torch.autocast(device, dtype, enabled=dtype != torch.float32)
    with graft_info(model).recorder.recording() as routing_by_layer, autocast:
        model.base_model(batch.to(torch.device(device)).input_ids, use_cache=False)
        chosen = torch.stack([routing.experts_TK for routing in routing_by_layer.values()])
        num_experts = next(iter(routing_by_layer.values())).logits_TE.shape[1]
    counts_E = chosen.flatten().bincount(minlength=num_experts).double()
    return (counts_E / counts_E.sum()).tolist()
