"""Sharding over several processes with FSDP2, and what a step does across the shards."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor.parallel import parallelize_module

from langraft.core.errors import TrainingError
from langraft.core.settings.training import Training
from langraft.families.sites import decoder_layers
from langraft.graft.moe.experts import ExpertBank
from langraft.graft.moe.router import TopKRouter
from langraft.train.compute.chunked_loss import TokenLosses
from langraft.train.processes.expert_parallel import ExpertParallel
from langraft.train.processes.group import Processes
from langraft.train.processes.mesh import make_meshes


def shard_model(root: TokenLosses, processes: Processes, training: Training) -> None:
    """Shard a model over the processes, layer by layer, in place (FSDP2).

    Every process must hold the same weights before, or none (on the meta device). Frozen and
    trained parameters keep their own dtype at rest; matrix products run in ``training.dtype``,
    routers in float32. With ``keep_float32: [residual]`` what passes between layers is not cast to
    it. Experts are shared out first where ``training.mesh`` asks for it.

    Raises:
        TrainingError: when a share of the experts does not divide evenly among its processes.
    """
    if processes.world_size == 1:
        return
    dtype = getattr(torch, training.dtype)
    policy = MixedPrecisionPolicy(
        param_dtype=None if dtype == torch.float32 else dtype,
        reduce_dtype=torch.float32,
        cast_forward_inputs="residual" not in training.keep_float32,
    )
    meshes = make_meshes(training.mesh, processes.world_size, processes.device.type)
    place = _Placement(meshes.shared["shard"].size())
    for layer in decoder_layers(root.model)[1]:
        for module in layer.modules():
            if isinstance(module, TopKRouter):
                fully_shard(module, mesh=meshes.shared, shard_placement_fn=place)
            elif isinstance(module, ExpertBank) and meshes.expert is not None:
                assert meshes.experts is not None
                parallelize_module(module, meshes.expert, ExpertParallel())
                num_shards = meshes.experts["shard"].size()
                within = _Placement(num_shards, first=1)
                bank = fully_shard(
                    module, mesh=meshes.experts, mp_policy=policy, shard_placement_fn=within
                )
                # A share's gradients hold rows of all processes that share experts out, so their
                # number divides too. gloo can only sum; torch divides twice where one is to sum.
                bank.set_gradient_divide_factor(processes.world_size)
                bank.set_force_sum_reduction_for_comms(num_shards > 1)
        fully_shard(layer, mesh=meshes.shared, mp_policy=policy, shard_placement_fn=place)
    fully_shard(root, mesh=meshes.shared, mp_policy=policy, shard_placement_fn=place)


@dataclass(frozen=True, slots=True)
class _Placement:
    """Along which dimension a parameter is sharded: the first that divides evenly.

    A stack of few experts has too few rows for many processes; where nothing divides evenly some
    processes get fewer rows, or none.

    Attributes:
        num_shards: Processes that share a parameter.
        first: Dimension to begin with; 1 where experts are shared out along 0, and then even
            shards are a must.
    """

    num_shards: int
    first: int = 0

    def __call__(self, parameter: nn.Parameter) -> Shard:
        local: Any = parameter.to_local() if isinstance(parameter, DTensor) else parameter
        even = [d for d in range(self.first, local.ndim) if local.shape[d] % self.num_shards == 0]
        if self.first and not even:
            raise TrainingError(
                f"training.mesh: {self.num_shards} processes hold the same experts, and no "
                f"dimension of a stack {tuple(parameter.shape)} divides evenly among them. Raise "
                "`expert` or `replicate`, or start fewer processes."
            )
        return Shard(even[0] if even else 0)


def by_mesh(parameters: Iterable[nn.Parameter]) -> list[list[nn.Parameter]]:
    """Group parameters by the mesh they are sharded over: operations on many at once want one."""
    groups: dict[Any, list[nn.Parameter]] = {}
    for parameter in parameters:
        mesh = parameter.device_mesh if isinstance(parameter, DTensor) else None
        groups.setdefault(mesh, []).append(parameter)
    return list(groups.values())


def separate_meshes(optimizer: torch.optim.Optimizer) -> None:
    """Split an optimizer's groups by mesh, in place."""
    for group in list(optimizer.param_groups):
        first, *others = by_mesh(group["params"])
        group["params"] = first
        for parameters in others:
            optimizer.add_param_group({**group, "params": parameters})


def clip_gradients(
    parameters: Collection[nn.Parameter], max_norm: float, processes: Processes, num_copies: int
) -> float:
    """Scale gradients, in place, so that the norm of the whole gradient is at most ``max_norm``.

    Args:
        parameters: What trains; all processes call this together.
        max_norm: Of the gradient of all parameters over all processes.
        processes: Of the run.
        num_copies: Processes that hold the same shard (``mesh.replicate``).

    Returns:
        The norm before.
    """
    gradients = [own_part(p.grad) for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
    if processes.world_size > 1:
        norm = (processes.sum(norm.double().square()) / num_copies).sqrt().float()
    found = float(norm)
    if not found < max_norm - 1e-5:  # else the library would multiply all of them by 1
        for group in by_mesh(parameters):
            torch.nn.utils.clip_grads_with_norm_(group, max_norm, norm, foreach=True)
    return found


def reshard_model(root: TokenLosses) -> None:
    """Free the gathered parameters that a forward pass without a backward pass leaves."""
    for module in root.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def gather_tensors(
    parameters: Mapping[str, nn.Parameter], processes: Processes
) -> dict[str, Tensor]:
    """Return whole parameters in the leader's main memory, and nothing elsewhere.

    They are gathered one by one, so no other process ever holds more than one of them whole.
    """
    gathered: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        tensor = parameter.detach()
        whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if processes.is_leader:
            gathered[name] = whole.cpu().contiguous()
    return gathered


def own_part(tensor: Tensor) -> Tensor:
    """Return what this process holds of a tensor that may be sharded."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
