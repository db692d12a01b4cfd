"""Processes: one alone, or several under torchrun with FSDP2."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard

from langraft.families.sites import decoder_layers
from langraft.graft.router import TopKRouter
from langraft.train.loss import TokenLosses


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run; a ``langraft.core.artifacts.Team``.

    Attributes:
        rank: Number of this process, from 0.
        world_size: How many there are.
        device: What this process computes on.
    """

    rank: int
    world_size: int
    device: torch.device

    @property
    def is_leader(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all."""
        if self.world_size > 1:
            dist.barrier()

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, claim: bool) -> bool:
        """Return whether any process says so; all get the same answer."""
        return bool(self.sum(torch.tensor(float(claim), device=self.device)).item())


def join_processes() -> Processes:
    """Join the other processes when torchrun started us, NCCL on GPUs and gloo elsewhere."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    has_gpu = torch.cuda.is_available()
    if world_size == 1:
        return Processes(0, 1, torch.device("cuda" if has_gpu else "cpu"))
    device = torch.device("cpu")
    if has_gpu:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if has_gpu else "gloo")
    return Processes(dist.get_rank(), dist.get_world_size(), device)


def shard_model(
    root: TokenLosses,
    processes: Processes,
    dtype: torch.dtype,
    *,
    has_float32_residual: bool = False,
) -> None:
    """Shard a model over the processes, layer by layer, in place (FSDP2).

    Every process must hold the same weights before. Frozen and trained parameters keep their
    own dtype at rest; matrix products run in ``dtype``, routers in float32. With
    ``has_float32_residual`` what passes between layers is not cast to it.
    """
    if processes.world_size == 1:
        return
    policy = MixedPrecisionPolicy(
        param_dtype=None if dtype == torch.float32 else dtype,
        reduce_dtype=torch.float32,
        cast_forward_inputs=not has_float32_residual,
    )
    mesh = dist.device_mesh.init_device_mesh(processes.device.type, (processes.world_size,))
    for layer in decoder_layers(root.model)[1]:
        for module in layer.modules():
            if isinstance(module, TopKRouter):
                fully_shard(module, mesh=mesh)
        fully_shard(layer, mesh=mesh, mp_policy=policy)
    fully_shard(root, mesh=mesh, mp_policy=policy)


def reshard_model(root: TokenLosses) -> None:
    """Take the whole parameters away that a forward pass without a backward pass leaves."""
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole(tensor: Tensor) -> Tensor:
    """Return a whole copy of a tensor that may be sharded; every process must call it."""
    found: Any = tensor.detach()
    return found.full_tensor() if hasattr(found, "full_tensor") else found
