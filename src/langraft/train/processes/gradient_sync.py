"""Gradient synchronisation: once a step where memory allows, else once a micro-batch."""

from __future__ import annotations

import os

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from langraft.train.processes.fsdp import own_part
from langraft.train.processes.group import Processes

_SHARE_OF_FREE = 0.5  # activations need the rest


class GradientSync:
    """Gathers parameters and sums gradients no more often than a step's memory demands.

    Between the micro-batches of a step gradients can stay with each process, whole and in float32,
    and be summed with the last; parameters can stay gathered from the first forward pass to the
    last backward pass. Each is done where it fits into half of the memory that is free when the
    stage begins, on every process, with gradients and moments of the optimizer deducted; gradients
    go first. One process has nothing to sum.

    Attributes:
        is_gradient_kept: Whether gradients are summed once a step.
        are_weights_kept: Whether parameters are gathered once a step.
    """

    def __init__(self, root: nn.Module, processes: Processes) -> None:
        """Decide for a sharded model; all processes call this together."""
        self._root = root if isinstance(root, FSDPModule) else None
        self.is_gradient_kept = self.are_weights_kept = False
        if self._root is None:
            return
        parameters = list(root.parameters())
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        do_gradients_fit, do_weights_fit = fits_between_micro_batches(
            free_bytes=_free_bytes(processes.device),
            num_own_trained=sum(own_part(p).numel() for p in trained),
            gradient_bytes=4 * sum(_gathered_numel(p) for p in trained),
            weight_bytes=sum(_gathered_numel(p) * p.element_size() for p in parameters),
        )
        self.is_gradient_kept = not processes.any(not do_gradients_fit)
        self.are_weights_kept = self.is_gradient_kept and not processes.any(not do_weights_fit)
        if self.are_weights_kept:
            self._root.set_reshard_after_forward(False)

    def begin_micro_batch(self, *, is_last: bool) -> None:
        """Prepare the next forward and backward pass."""
        if self._root is None:
            return
        self._root.set_is_last_backward(is_last)
        self._root.set_requires_gradient_sync(is_last or not self.is_gradient_kept)
        self._root.set_reshard_after_backward(is_last or not self.are_weights_kept)


def fits_between_micro_batches(
    *, free_bytes: float, num_own_trained: float, gradient_bytes: float, weight_bytes: float
) -> tuple[bool, bool]:
    """Return whether whole gradients, and whether weights too, fit into half of the free memory.

    Args:
        free_bytes: Free memory of a device, its shard of the weights deducted.
        num_own_trained: Trained weights of its shard; their gradients and moments need 12 bytes
            each.
        gradient_bytes: All gradients, gathered.
        weight_bytes: All weights, gathered.
    """
    spare = _SHARE_OF_FREE * (free_bytes - 12 * num_own_trained)
    return gradient_bytes <= spare, gradient_bytes + weight_bytes <= spare


def _gathered_numel(parameter: nn.Parameter) -> int:
    """Return the elements of a parameter that a process computes with."""
    if not isinstance(parameter, DTensor):
        return parameter.numel()
    mesh = parameter.device_mesh
    shares = mesh["expert"].size() if "expert" in (mesh.mesh_dim_names or ()) else 1
    return parameter.numel() // shares


def _free_bytes(device: torch.device) -> int:
    """Return the free memory of a device; of the host this process's share, 0 where unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    if "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return 0
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return pages // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
