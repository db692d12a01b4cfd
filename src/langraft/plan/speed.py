"""How long a stage takes on given devices: matrix products, communication and the optimizer.

In a step the matrix products of all micro-batches overlap with FSDP's gathers and reductions (the
longer of the two counts). The rest overlaps with nothing: sending tokens to experts on other
devices and back, and the optimizer, which reads and writes every trained weight, its gradient and
its moments once.
"""

from __future__ import annotations

from dataclasses import dataclass

from langraft.core.settings.training import Training
from langraft.plan.hardware import Hardware
from langraft.plan.memory import plan_gradient_sync
from langraft.plan.model_shape import ModelShape

_UPDATE_BYTES = 28  # of a weight: it and both moments read and written, its gradient read


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Speed of one stage.

    Attributes:
        tokens_per_second: Over all devices.
        hours: Duration of the stage.
        device_hours: Hours times devices.
        step_seconds: Duration of a step.
        product_seconds: Matrix products of a step.
        sharding_seconds: FSDP's communication, which overlaps with them.
        expert_seconds: Sending tokens to experts and back.
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


def plan_speed(
    shape: ModelShape, training: Training, hardware: Hardware, tokens: int, token_flops: float
) -> Speed:
    """Estimate the speed of a stage.

    Args:
        shape: Shape of the model.
        training: Batch shape and mesh.
        hardware: Devices with an accelerator.
        tokens: Length of the stage.
        token_flops: Operations of training on a token, all passes together.
    """
    assert hardware.accelerator is not None
    card, num_devices = hardware.accelerator, hardware.num_devices
    shards = hardware.num_shards(training.mesh)
    step_tokens = training.batch_rows * training.sequence_length
    num_micro = max(1, training.batch_rows // (training.micro_rows * num_devices))
    reached = num_devices * card.peak_flops * hardware.flops_utilisation
    products = token_flops * step_tokens / reached
    sharding = _sharding_seconds(shape, training, hardware, num_micro)
    experts = _expert_seconds(shape, training, hardware, num_micro)
    update = _UPDATE_BYTES * shape.weights.trained / shards / card.memory_bandwidth
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
    shape: ModelShape, training: Training, hardware: Hardware, num_micro: int
) -> float:
    """Return the seconds of FSDP's communication in one step.

    A layer is gathered twice a micro-batch, forward and backward, and its gradients are reduced
    over shards in float32; each happens once a step where memory allows. Gradients are reduced
    over copies as often as over shards.
    """
    assert hardware.accelerator is not None
    mesh, per_node = training.mesh, hardware.accelerator.per_node
    shards = hardware.num_shards(mesh)
    size = 4 if training.dtype == "float32" else 2
    weights, num_expert = shape.weights, mesh.expert
    are_gradients_kept, are_weights_kept = plan_gradient_sync(shape, training, hardware)
    num_gathers = 1 if are_weights_kept else 2 * num_micro
    num_sums = 1 if are_gradients_kept else num_micro
    shared = weights.total - weights.experts, weights.trained - weights.trained_experts
    experts = weights.experts / num_expert, weights.trained_experts / num_expert
    # Each share of the experts is sharded over the processes of a copy that hold that share.
    groups = (*shared, shards, per_node), (*experts, shards // num_expert, per_node // num_expert)
    seconds = 0.0
    for total, trained, members, most_neighbours in groups:
        bandwidth = hardware.bandwidth(members, min(members, max(1, most_neighbours)))
        sent = total * size * num_gathers + trained * 4 * num_sums
        seconds += sent * (members - 1) / members / bandwidth
    if mesh.replicate > 1:
        bandwidth = hardware.bandwidth(mesh.replicate, max(1, per_node // shards))
        sent = 2 * weights.trained * 4 / shards * (mesh.replicate - 1) / mesh.replicate
        seconds += num_sums * sent / bandwidth
    return seconds


def _expert_seconds(
    shape: ModelShape, training: Training, hardware: Hardware, num_micro: int
) -> float:
    """Return the seconds of sending tokens to experts on other devices and back, in one step.

    Forward, backward, and forward once more where layers are recomputed.
    """
    num_expert = training.mesh.expert
    if num_expert == 1:
        return 0.0
    assert hardware.accelerator is not None
    size = 4 if training.dtype == "float32" else 2
    tokens = training.micro_rows * training.sequence_length
    rows = sum(layer.experts.new_rows for layer in shape.layers if layer.experts is not None)
    num_trips = 6 if training.activation_checkpointing else 4
    sent = num_trips * rows * tokens * shape.model_width * size * (num_expert - 1) / num_expert
    neighbours = min(num_expert, hardware.accelerator.per_node)
    return num_micro * sent / hardware.bandwidth(num_expert, neighbours)
