"""Load each process's shard of a model that was built on the meta device."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from langraft.families.tensors import Part, ReadPart
from langraft.train.processes.fsdp import own_part


@torch.no_grad()
def load_shards(model: nn.Module, sources: Mapping[str, ReadPart], device: torch.device) -> None:
    """Load the weights of this process's shard of a model, in place.

    Args:
        model: Sharded; parameters whose weights are not loaded are on the meta device.
        sources: By parameter name, what reads a part of it; the other parameters stay unchanged.
        device: Device of this process.
    """
    owners: dict[int, list[tuple[nn.Module, str]]] = {}  # a tied matrix has several
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            owners.setdefault(id(parameter), []).append((module, name))
    for name, parameter in list(model.named_parameters()):
        if name not in sources:
            continue
        found = parameter
        if parameter.is_meta:
            found = _materialise(parameter, device)
            for module, attribute in owners[id(parameter)]:
                setattr(module, attribute, found)
        own = own_part(found)
        if own.numel():
            own.copy_(sources[name](_part_of(found)))


def _part_of(parameter: nn.Parameter) -> Part:
    """Return the slices of a parameter that this process holds."""
    shape, start = tuple(parameter.shape), (0,) * parameter.ndim
    if isinstance(parameter, DTensor):
        shape, start = compute_local_shape_and_global_offset(
            parameter.shape, parameter.device_mesh, parameter.placements
        )
    return tuple(slice(at, at + length) for at, length in zip(start, shape, strict=True))


def _materialise(parameter: nn.Parameter, device: torch.device) -> nn.Parameter:
    """Return a parameter like one on the meta device, with uninitialised memory."""
    tensor = torch.empty_like(own_part(parameter), device=device)
    if isinstance(parameter, DTensor):
        tensor = DTensor.from_local(
            tensor,
            parameter.device_mesh,
            parameter.placements,
            run_check=False,
            shape=parameter.shape,
            stride=parameter.stride(),
        )
    return nn.Parameter(tensor, requires_grad=parameter.requires_grad)
