"""Device meshes: which process holds which shard, as ``training.mesh`` asks.

The processes are counted copy by copy. Within a copy of the model, what every process computes is
sharded over all of its processes; a layer's new experts are first divided among ``expert``
neighbours, then each part is sharded over the processes that hold the same one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from langraft.core.errors import TrainingError
from langraft.core.settings.training import Mesh


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardingMeshes:
    """The meshes of a run; all but ``expert`` are (replicate, shard), or (shard,) for one copy.

    Attributes:
        shared: Of all parameters but experts that are shared out.
        experts: Of one share of the experts; None where they are not shared out.
        expert: The processes that hold the shares of one layer, (expert,); None likewise.
    """

    shared: DeviceMesh
    experts: DeviceMesh | None = None
    expert: DeviceMesh | None = None


def check_mesh(mesh: Mesh, num_processes: int, num_experts: Iterable[int] = ()) -> None:
    """Refuse a mesh that does not fit.

    Args:
        mesh: What the recipe asks for.
        num_processes: Of the run.
        num_experts: New experts of each layer that has some.

    Raises:
        TrainingError: when it does not divide the processes or the experts.
    """
    wanted = mesh.replicate * mesh.expert
    if num_processes % wanted:
        raise TrainingError(
            f"training.mesh asks for {mesh.replicate} copies of the model (replicate) and experts "
            f"shared out over {mesh.expert} processes (expert), so over a multiple of {wanted} "
            f"processes; there are {num_processes}. Start so many with torchrun, or change "
            "training.mesh."
        )
    uneven = [number for number in num_experts if number % mesh.expert]
    if uneven:
        raise TrainingError(
            f"training.mesh.expert {mesh.expert} does not divide {uneven[0]} new experts of a "
            "layer. Give a divisor of every layer's number of experts, or change "
            "method.new_experts."
        )


def make_meshes(mesh: Mesh, num_processes: int, device_type: str) -> ShardingMeshes:
    """Make the meshes; all processes call this together.

    Args:
        mesh: Has passed ``check_mesh``.
        num_processes: Of the run, more than one.
        device_type: Of what they compute on.
    """
    in_copy = num_processes // mesh.replicate
    of_copies = () if mesh.replicate == 1 else (mesh.replicate,)
    names = ("replicate",) * len(of_copies) + ("shard",)
    shared = init_device_mesh(device_type, (*of_copies, in_copy), mesh_dim_names=names)
    if mesh.expert == 1:
        return ShardingMeshes(shared=shared)
    shape = (*of_copies, in_copy // mesh.expert, mesh.expert)
    both = init_device_mesh(device_type, shape, mesh_dim_names=(*names, "expert"))
    return ShardingMeshes(shared=shared, experts=both[names], expert=both["expert"])
