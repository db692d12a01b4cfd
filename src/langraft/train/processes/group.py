"""The processes of a run: one alone, or several that torchrun started."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run; a ``langraft.core.artifacts.ProcessGroup``.

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
        """Whether this process writes files and prints."""
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
        _init_process_group("nccl" if has_gpu else "gloo", world_size)
    return Processes(dist.get_rank(), dist.get_world_size(), device)


def _init_process_group(backend: str, world_size: int) -> None:
    """Join the process group of this start, not of one before a restart.

    torchrun keeps one store over restarts (pytorch issue 135712), where the addresses of processes
    that are gone remain. On one node the number of restarts tells them apart; several nodes may
    count differently, and need TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 (docs/guide/distributed.md).
    """
    if int(os.environ.get("LOCAL_WORLD_SIZE", "0")) != world_size:
        dist.init_process_group(backend)
        return
    store, rank, _ = next(rendezvous("env://"))
    start = f"start-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    store = dist.PrefixStore(start, store)  # pyright: ignore[reportPrivateImportUsage]
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)
