"""How long a stage takes on given devices: products at a share of the peak, and what they send.

A step is its micro-batches' products, behind which FSDP fetches and sums weights (the longer of the
two counts), then what nothing hides: tokens on their way to experts of other devices, and the
optimizer, which reads and writes every trained weight, its gradient and its moments once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from langraft.core.training import Training
from langraft.recipes.anatomy import Anatomy
from langraft.recipes.flops import flops_per_token
from langraft.recipes.machine import Machine
from langraft.recipes.memory import find_sharing

_UPDATE_BYTES = 28  # of a weight: it and both moments read and written, its gradient read


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Of one stage.

    Attributes:
        tokens_per_second: Over all devices.
        hours: Of the stage.
        device_hours: Hours times devices.
        step_seconds: Of a step.
        product_seconds: Of these, matrix products.
        sharding_seconds: What FSDP sends, beside the products.
        expert_seconds: Tokens on their way to experts and back.
        update_seconds: The optimizer.
    """

    tokens_per_second: float
    hours: float
    device_hours: float
    step_seconds: float
    product_seconds: float
    sharding_seconds: float
    expert_seconds: float
    update_seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


def plan_speed(anatomy: Anatomy, training: Training, machine: Machine, tokens: int) -> Speed:
    """Estimate the speed of a stage.

    Args:
        anatomy: Of the model.
        training: Batch shape and mesh.
        machine: Devices, their accelerator named.
        tokens: Of the stage.
    """
    assert machine.accelerator is not None
    card, num_devices = machine.accelerator, machine.num_devices
    shards = max(1, num_devices // training.mesh.replicate)
    step_tokens = training.batch_rows * training.sequence_length
    num_micro = max(1, training.batch_rows // (training.micro_rows * num_devices))
    reached = num_devices * card.peak_flops * machine.share_of_peak
    products = flops_per_token(anatomy, training) * step_tokens / reached
    sharding = _sharding_seconds(anatomy, training, machine, num_micro)
    experts = _expert_seconds(anatomy, training, machine, num_micro)
    update = _UPDATE_BYTES * anatomy.weights.trained / shards / card.memory_bandwidth
    step = max(products, sharding) + experts + update
    hours = tokens / step_tokens * step / 3600
    return Speed(
        tokens_per_second=step_tokens / step,
        hours=hours,
        device_hours=hours * num_devices,
        step_seconds=step,
        product_seconds=products,
        sharding_seconds=sharding,
        expert_seconds=experts,
        update_seconds=update,
    )


def _sharding_seconds(
    anatomy: Anatomy, training: Training, machine: Machine, num_micro: int
) -> float:
    """Return the seconds in which FSDP gathers layers and sums gradients, in one step.

    A layer is gathered twice a micro-batch, forward and backward, and its gradients are summed over
    shards in float32, or each once a step where memory allows; over replicas gradients are summed
    with those.
    """
    assert machine.accelerator is not None
    mesh, per_node = training.mesh, machine.accelerator.per_node
    shards = max(1, machine.num_devices // mesh.replicate)
    size = 4 if training.dtype == "float32" else 2
    weights, num_expert = anatomy.weights, mesh.expert
    are_gradients_kept, are_weights_kept = find_sharing(anatomy, training, machine)
    num_gathers = 1 if are_weights_kept else 2 * num_micro
    num_sums = 1 if are_gradients_kept else num_micro
    shared = weights.total - weights.experts, weights.trained - weights.trained_experts
    experts = weights.experts / num_expert, weights.trained_experts / num_expert
    # A share of the experts is sharded over those that hold it, each expert-th process of a copy.
    groups = (*shared, shards, per_node), (*experts, shards // num_expert, per_node // num_expert)
    seconds = 0.0
    for total, trained, members, most_neighbours in groups:
        bandwidth = machine.bandwidth(members, min(members, max(1, most_neighbours)))
        sent = total * size * num_gathers + trained * 4 * num_sums
        seconds += sent * (members - 1) / members / bandwidth
    if mesh.replicate > 1:
        bandwidth = machine.bandwidth(mesh.replicate, max(1, per_node // shards))
        sent = 2 * weights.trained * 4 / shards * (mesh.replicate - 1) / mesh.replicate
        seconds += num_sums * sent / bandwidth
    return seconds


def _expert_seconds(
    anatomy: Anatomy, training: Training, machine: Machine, num_micro: int
) -> float:
    """Return the seconds in which tokens go to experts of other devices and back.

    Forward, backward, and forward once more where layers are recomputed.
    """
    num_expert = training.mesh.expert
    if num_expert == 1:
        return 0.0
    assert machine.accelerator is not None
    size = 4 if training.dtype == "float32" else 2
    tokens = training.micro_rows * training.sequence_length
    rows = sum(layer.experts.new_rows for layer in anatomy.layers if layer.experts is not None)
    num_trips = 6 if training.activation_checkpointing else 4
    sent = num_trips * rows * tokens * anatomy.model_width * size * (num_expert - 1) / num_expert
    neighbours = min(num_expert, machine.accelerator.per_node)
    return num_micro * sent / machine.bandwidth(num_expert, neighbours)
