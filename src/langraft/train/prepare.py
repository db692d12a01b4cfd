"""Prepare a stage: checks, frozen and trained parameters, shards, optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from langraft.core.errors import TrainingError
from langraft.core.settings.languages import Languages
from langraft.core.settings.recipe import RETAIN
from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.families.tensors import ReadPart
from langraft.graft.freeze import fingerprint_frozen, parameter_groups, set_trainable
from langraft.graft.moe.expanded_ffn import use_experts
from langraft.graft.moe.experts import ExpertBank
from langraft.graft.moe.losses import SideLoss
from langraft.graft.surgery import GraftInfo, graft_info
from langraft.train.compute.chunked_loss import TokenLosses
from langraft.train.compute.compile import compile_layers
from langraft.train.compute.quantize import frozen_projections, quantize_frozen
from langraft.train.compute.recompute import recompute_layers
from langraft.train.optimizer import make_optimizer
from langraft.train.preflight import (
    check_batch,
    check_libraries,
    check_settings,
    remark_on_precision,
)
from langraft.train.processes.fsdp import separate_meshes, shard_model
from langraft.train.processes.gradient_sync import GradientSync
from langraft.train.processes.group import Processes
from langraft.train.processes.load_shards import load_shards
from langraft.train.processes.mesh import check_mesh


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedStage:
    """A model ready to train, and all that a step needs beside its text.

    Attributes:
        info: What langraft knows of the model.
        token_losses: The model's losses; the root that is sharded.
        trained: Trained parameters by name, this process's shards of them.
        optimizer: Over the trained parameters alone.
        gradient_sync: When gradients are summed over processes.
        side_losses: By name, each with its weight.
        is_original: By language id.
        frozen_fingerprint: Of all frozen tensors, before the first step.
        num_trained: Elements of all trained parameters, on all processes.
    """

    stage: Stage
    training: Training
    languages: Languages
    processes: Processes
    info: GraftInfo
    token_losses: TokenLosses
    trained: Mapping[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    gradient_sync: GradientSync
    side_losses: Mapping[str, tuple[SideLoss, float]]
    is_original: Tensor
    frozen_fingerprint: str
    num_trained: int

    @property
    def model(self) -> Any:
        """The grafted model."""
        return self.token_losses.model

    @property
    def tokens_per_step(self) -> int:
        """Tokens of a step over all processes, padding included."""
        return self.training.batch_rows * self.training.sequence_length

    @property
    def retain_weight(self) -> float:
        """Weight of the divergence from the base on original languages; 0 without it."""
        return (self.stage.losses or {}).get(RETAIN, 0.0)

    def autocast(self) -> torch.autocast:
        """Return what lets matrix products run in the precision of the recipe."""
        dtype = getattr(torch, self.training.dtype)
        return torch.autocast(self.processes.device.type, dtype, enabled=dtype != torch.float32)


def prepare_stage(
    model: Any,
    *,
    stage: Stage,
    training: Training,
    languages: Languages,
    processes: Processes,
    console: Console,
    sources: Mapping[str, ReadPart] | None,
) -> PreparedStage:
    """Freeze, place, shard and wrap a grafted model, in place; arguments as for ``train_stage``.

    Raises:
        TrainingError: when batch, mesh or stage do not fit the processes or the model.
        RecipeError: when settings cannot work together.
        MissingExtraError: when a library is missing that the settings need.
    """
    info = graft_info(model)
    _check(model, training, processes, console)
    use_experts(model, training.experts)
    num_trained = _freeze(model, info, stage)
    if training.quantize_frozen and (stage.trains != "everything" or frozen_projections(model)):
        quantize_frozen(model, training.quantize_frozen, processes.device)
    if sources is None:
        model.to(processes.device)
    model.train()
    if training.activation_checkpointing:
        recompute_layers(model, training.activation_checkpointing)
    if training.compile:
        compile_layers(model)
    token_losses = TokenLosses(model, z_loss=training.z_loss)
    shard_model(token_losses, processes, training)
    if sources is not None:
        load_shards(model, sources, processes.device)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    frozen_fingerprint = fingerprint_frozen(model)
    optimizer = make_optimizer(_trained_by_group(model), stage, training)
    separate_meshes(optimizer)
    side_losses = info.method.side_losses()
    is_original = torch.tensor([languages.role(c) == "original" for c in languages.all])
    return PreparedStage(
        stage=stage,
        training=training,
        languages=languages,
        processes=processes,
        info=info,
        token_losses=token_losses,
        trained=trained,
        optimizer=optimizer,
        gradient_sync=GradientSync(token_losses, processes),
        side_losses={
            name: (side_losses[name], weight)
            for name, weight in (stage.losses or {}).items()
            if weight and name != RETAIN  # which is no loss of a layer's routing: see retain.py
        },
        is_original=is_original.to(processes.device),
        frozen_fingerprint=frozen_fingerprint,
        num_trained=num_trained,
    )


def _trained_by_group(model: Any) -> dict[str, dict[str, nn.Parameter]]:
    """Return what trains by the group that a stage names it by."""
    return {
        group: {name: p for name, p in parameters.items() if p.requires_grad}
        for group, parameters in parameter_groups(model).items()
    }


def _check(model: Any, training: Training, processes: Processes, console: Console) -> None:
    """Check settings, batch and mesh against the processes; print what will be slow."""
    check_batch(training, processes.world_size)
    check_settings(training, processes.world_size, processes.device.type)
    check_libraries(training)
    if remark := remark_on_precision(training, processes.device.type):
        console.print(f"  {remark}", highlight=False, soft_wrap=True)
    banks = [module for module in model.modules() if isinstance(module, ExpertBank)]
    check_mesh(training.mesh, processes.world_size, [len(bank.weight_in) for bank in banks])


def _freeze(model: Any, info: GraftInfo, stage: Stage) -> int:
    """Let what the stage names train and freeze the rest; return how many elements train."""
    assert stage.trains is not None, "complete_stage fills this in"
    trained = set_trainable(model, stage.trains, token_rows=info.method.token_rows)
    if stage.trains == "everything" and info.earlier is not None:
        raise TrainingError(
            f"Stage {stage.name!r} trains everything, the earlier graft included, which a second "
            f"expansion leaves as it is. Name some of {', '.join(info.method.groups)}."
        )
    info.is_base_changed |= stage.trains == "everything"
    return sum(parameter.numel() for parameter in trained.values())
