"""Search for the settings of `training` that fit given devices and are fastest, by the plan itself.

It tries all ways to divide the devices into shards and copies and to divide experts among them, all
micro-batches that divide the batch, and all kinds of activation checkpointing. The batch and
everything else that a step trains on stay as the recipe has them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from langraft.core.errors import RecipeError, TrainingError
from langraft.core.settings.training import Mesh, Training
from langraft.plan.flops import flops_per_token
from langraft.plan.hardware import Hardware
from langraft.plan.memory import Memory, plan_memory
from langraft.plan.model_shape import ModelShape
from langraft.plan.speed import Speed, plan_speed
from langraft.train.preflight import check_batch, check_settings
from langraft.train.processes.mesh import check_mesh

_MAX_DEVICES = 4096
_MAX_MICRO_BATCH_TOKENS = 65_536  # beyond, matrix products are no faster
_CHECKPOINTING = (False, "selective", True)
# What one process can change to fit, mildest first; 8-bit and 4-bit weights cannot be sharded.
_SMALLER: tuple[dict[str, str], ...] = (
    {"quantize_frozen": "int8"},
    {"optimizer": "adamw_8bit"},
    {"quantize_frozen": "int8", "optimizer": "adamw_8bit"},
    {"quantize_frozen": "int4", "optimizer": "adamw_8bit"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The settings that were found, or why nothing fits.

    Attributes:
        training: The recipe's with what was found; None when nothing fits.
        memory: Memory of a device, in the stage that takes most.
        speeds: Speed of each stage.
        problem: Why nothing fits and what would; empty when something fits.
    """

    training: Training | None
    memory: Memory | None = None
    speeds: tuple[Speed, ...] = ()
    problem: str = ""

    @property
    def yaml(self) -> str:
        """The lines to paste into a recipe; empty when nothing fits."""
        if self.training is None:
            return ""
        mesh, given = self.training.mesh, self.training.activation_checkpointing
        return (
            "training:\n"
            f"  micro_rows: {self.training.micro_rows}\n"
            f"  activation_checkpointing: {str(given).lower()}\n"
            f"  mesh: {{replicate: {mesh.replicate}, expert: {mesh.expert}}}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        if self.training is None or self.memory is None:
            return {"fits": False, "problem": self.problem}
        return {
            "fits": True,
            "training": self.training.model_dump(
                mode="json", include={"micro_rows", "activation_checkpointing", "mesh"}
            ),
            "memory_bytes": self.memory.to_json(),
            "speeds": [asdict(speed) for speed in self.speeds],
        }


def why_impossible(shape: ModelShape, training: Training, hardware: Hardware) -> str:
    """Return why these devices cannot train with the given settings; empty when they can.

    Raises:
        ModelError: when no expert implementation has the given name.
    """
    count = hardware.num_devices
    if training.quantize_frozen and shape.weights.frozen and not shape.quantizable:
        return (
            f"training.quantize_frozen: {training.quantize_frozen} finds no frozen linear "
            "projection in the decoder layers of this base; leave it out"
        )
    try:
        check_batch(training, count)
        check_mesh(training.mesh, count, _expert_counts(shape))
        check_settings(training, count, hardware.device_type)
    except (RecipeError, TrainingError) as error:
        return f"as it is set {count} devices cannot train this: {error}"
    return ""


def search_settings(
    shapes: Sequence[ModelShape], tokens: Sequence[int], training: Training, hardware: Hardware
) -> SearchResult:
    """Return the fastest settings that fit, or what would have to change.

    Args:
        shapes: Shape of the model in each stage; the first decides what is fastest.
        tokens: Length of each stage.
        training: The recipe's settings.
        hardware: Devices with an accelerator.
    """
    try:
        check_settings(training, hardware.num_devices, hardware.device_type)
    except RecipeError as error:
        return SearchResult(training=None, problem=str(error))
    best = _fastest(shapes, training, hardware)
    if best is None:
        return SearchResult(training=None, problem=_problem(shapes, training, hardware))
    return SearchResult(
        training=best,
        memory=_largest_memory(shapes, best, hardware),
        speeds=tuple(
            plan_speed(shape, best, hardware, num, flops_per_token(shape, best))
            for shape, num in zip(shapes, tokens, strict=True)
        ),
    )


def _fastest(
    shapes: Sequence[ModelShape], training: Training, hardware: Hardware
) -> Training | None:
    """Return the fastest that fits; among equals the simplest mesh and the largest micro-batch."""

    def cost(tried: Training) -> tuple[float, ...]:
        speed = plan_speed(shapes[0], tried, hardware, 1, flops_per_token(shapes[0], tried))
        seconds = float(f"{speed.step_seconds:.2g}")
        return seconds, tried.mesh.expert, tried.mesh.replicate, -tried.micro_rows

    fitting = (
        tried
        for tried in _candidates(shapes[0], training, hardware)
        if _largest_memory(shapes, tried, hardware).peak <= hardware.usable_bytes
    )
    return min(fitting, key=cost, default=None)


def _candidates(shape: ModelShape, training: Training, hardware: Hardware) -> Iterator[Training]:
    rows_per_device, rest = divmod(training.batch_rows, hardware.num_devices)
    if rest or not rows_per_device:
        return
    counts = _expert_counts(shape)
    num_new = min(counts, default=1) if training.experts == "auto" else 1
    max_rows = max(1, _MAX_MICRO_BATCH_TOKENS // training.sequence_length)
    meshes = [
        Mesh(replicate=hardware.num_devices // shards, expert=expert)
        for shards in _divisors(hardware.num_devices)
        for expert in _divisors(num_new)
        if shards % expert == 0 and all(count % expert == 0 for count in counts)
    ]
    all_rows = [rows for rows in _divisors(rows_per_device) if rows <= max_rows]
    for mesh, micro_rows, kind in itertools.product(meshes, all_rows, _CHECKPOINTING):
        changes = {"mesh": mesh, "micro_rows": micro_rows, "activation_checkpointing": kind}
        yield training.model_copy(update=changes)


def _expert_counts(shape: ModelShape) -> list[int]:
    """Return the number of new experts in each layer that has some."""
    return [layer.experts.num_new for layer in shape.layers if layer.experts is not None]


def _largest_memory(shapes: Sequence[ModelShape], training: Training, hardware: Hardware) -> Memory:
    """Return the memory in the stage that needs most."""
    planned = [plan_memory(shape, training, hardware) for shape in shapes]
    return max(planned, key=lambda memory: memory.peak)


def _problem(shapes: Sequence[ModelShape], training: Training, hardware: Hardware) -> str:
    """Return why nothing fits, and which single change would help."""
    assert hardware.accelerator is not None
    card, num_devices = hardware.accelerator, hardware.num_devices
    if training.batch_rows % num_devices:
        return (
            f"training.batch_rows {training.batch_rows} cannot be divided among {num_devices} "
            f"devices: give a multiple of {num_devices}."
        )
    least = training.model_copy(
        update={"micro_rows": 1, "activation_checkpointing": True, "mesh": Mesh()}
    )
    needed = _largest_memory(shapes, least, hardware).peak
    ways: list[str] = []
    for changes in _SMALLER if num_devices == 1 else ():
        if _fastest(shapes, training.model_copy(update=changes), hardware) is not None:
            ways.append(" and ".join(f"training.{key}: {value}" for key, value in changes.items()))
            break
    count = 2 * num_devices
    while count <= _MAX_DEVICES and training.batch_rows % count == 0:
        more = replace(hardware, num_devices=count)
        if _fastest(shapes, training, more) is not None:
            ways.append(f"at least {count} devices")
            break
        count *= 2
    return (
        f"Does not fit: with one row at a time and every layer recomputed each of {num_devices} x "
        f"{card.name} would hold {needed / 2**30:.0f} GiB, and "
        f"{hardware.usable_bytes / 2**30:.0f} GiB are free. It takes "
        f"{' or '.join(ways) or 'another accelerator, or fewer new experts'}."
    )


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]
