"""Each process reads its own part of a sharded model that was built without weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from langraft.families.weights import Part
from langraft.train.parallel import own_part


@torch.no_grad()
def fill_model(
    model: nn.Module, sources: Mapping[str, Callable[[Part], Tensor]], device: torch.device
) -> None:
    """Give a sharded model its weights, in place.

    Args:
        model: Sharded; parameters without memory are on the meta device.
        sources: By parameter, what reads a part of it, a slice a dimension; parameters that have
            none keep what they hold.
        device: What this process computes on.
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
            found = _with_memory(parameter, device)
            for module, attribute in owners[id(parameter)]:
                setattr(module, attribute, found)
        own = own_part(found)
        if own.numel():
            own.copy_(sources[name](_part_of(found)))


def _part_of(parameter: nn.Parameter) -> Part:
    """Return which part of a parameter this process holds."""
    shape, start = tuple(parameter.shape), (0,) * parameter.ndim
    if isinstance(parameter, DTensor):
        shape, start = compute_local_shape_and_global_offset(
            parameter.shape, parameter.device_mesh, parameter.placements
        )
    return tuple(slice(at, at + length) for at, length in zip(start, shape, strict=True))


def _with_memory(parameter: nn.Parameter, device: torch.device) -> nn.Parameter:
    """Return a parameter like one on the meta device, with memory that holds nothing yet."""
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
