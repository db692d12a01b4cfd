"""Settings of `training` that fit given devices and are fastest by the plan's own estimate.

Tried are all ways to cut the devices into shards and copies, to share out experts, all
micro-batches that divide the batch and all kinds of activation checkpointing. What a step trains on
stays as the recipe has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langraft.core.errors import RecipeError, TrainingError
from langraft.core.training import Mesh, Training
from langraft.recipes.anatomy import Anatomy
from langraft.recipes.machine import Machine
from langraft.recipes.memory import Memory, plan_memory
from langraft.recipes.speed import Speed, plan_speed
from langraft.train.limits import check_batch, refuse_impossible
from langraft.train.mesh import check_mesh

_MOST_DEVICES = 4096
_MOST_TOKENS = 65_536  # of a micro-batch: beyond, products are no faster
_CHECKPOINTING = (False, "selective", True)
# What one process can do, the mildest first; codes of 8 and 4 bits cannot be sharded.
_SMALLER: tuple[dict[str, str], ...] = (
    {"quantize_frozen": "int8"},
    {"optimizer": "adamw_8bit"},
    {"quantize_frozen": "int8", "optimizer": "adamw_8bit"},
    {"quantize_frozen": "int4", "optimizer": "adamw_8bit"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What to set, or why nothing fits.

    Attributes:
        training: The recipe's with what is proposed; None where nothing fits.
        memory: Of a device, in the stage that takes most.
        speeds: Of each stage.
        problem: Why nothing fits and what would; empty where something does.
    """

    training: Training | None
    memory: Memory | None = None
    speeds: tuple[Speed, ...] = ()
    problem: str = ""

    @property
    def lines(self) -> str:
        """The lines to paste into a recipe; empty where nothing fits."""
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
            "speeds": [speed.to_json() for speed in self.speeds],
        }


def why_impossible(anatomy: Anatomy, training: Training, machine: Machine) -> str:
    """Return what keeps the devices from training this as it is set; empty where nothing does.

    Raises:
        ModelError: when no expert implementation has the name that is given.
    """
    count = machine.num_devices
    if training.quantize_frozen and anatomy.weights.frozen and not anatomy.codable:
        return (
            f"training.quantize_frozen: {training.quantize_frozen} finds no frozen linear "
            "projection in the decoder layers of this base; leave it out"
        )
    try:
        check_batch(training, count)
        check_mesh(training.mesh, count, _banks(anatomy))
        refuse_impossible(training, count, machine.device_type)
    except (RecipeError, TrainingError) as error:
        return f"as it is set {count} devices cannot train this: {error}"
    return ""


def propose(
    anatomies: Sequence[Anatomy], tokens: Sequence[int], training: Training, machine: Machine
) -> Proposal:
    """Return the fastest settings that fit, or what would have to change.

    Args:
        anatomies: Of each stage; the first is the one that counts for speed.
        tokens: Of each stage.
        training: Of the recipe.
        machine: With its accelerator named.
    """
    try:
        refuse_impossible(training, machine.num_devices, machine.device_type)
    except RecipeError as error:
        return Proposal(training=None, problem=str(error))
    best = _fastest(anatomies, training, machine)
    if best is not None:
        speeds = [
            plan_speed(anatomy, best, machine, num)
            for anatomy, num in zip(anatomies, tokens, strict=True)
        ]
        memory = _worst(anatomies, best, machine)
        return Proposal(training=best, memory=memory, speeds=tuple(speeds))
    return Proposal(training=None, problem=_problem(anatomies, training, machine))


def _fastest(anatomies: Sequence[Anatomy], training: Training, machine: Machine) -> Training | None:
    """Return the best of what fits; of equals the plainest mesh and the largest micro-batch."""
    found: list[tuple[tuple[float, ...], Training]] = []
    for tried in _candidates(anatomies[0], training, machine):
        if _worst(anatomies, tried, machine).peak <= machine.room:
            speed = plan_speed(anatomies[0], tried, machine, tokens=1)
            seconds = float(f"{speed.step_seconds:.2g}")
            mesh = tried.mesh
            found.append(((seconds, mesh.expert, mesh.replicate, -tried.micro_rows), tried))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _candidates(anatomy: Anatomy, training: Training, machine: Machine) -> Iterator[Training]:
    rows_of_device, rest = divmod(training.batch_rows, machine.num_devices)
    if rest or not rows_of_device:
        return
    banks = _banks(anatomy)
    num_new = min(banks, default=1) if training.experts == "auto" else 1
    most = max(1, _MOST_TOKENS // training.sequence_length)
    for shards in _divisors(machine.num_devices):
        for expert in _divisors(num_new):
            if shards % expert or any(count % expert for count in banks):
                continue
            mesh = Mesh(replicate=machine.num_devices // shards, expert=expert)
            for micro_rows in _divisors(rows_of_device):
                if micro_rows > most:
                    continue
                for kind in _CHECKPOINTING:
                    changes = {
                        "mesh": mesh,
                        "micro_rows": micro_rows,
                        "activation_checkpointing": kind,
                    }
                    yield training.model_copy(update=changes)


def _banks(anatomy: Anatomy) -> list[int]:
    """Return the number of new experts of each layer that has some."""
    return [layer.experts.num_new for layer in anatomy.layers if layer.experts is not None]


def _worst(anatomies: Sequence[Anatomy], training: Training, machine: Machine) -> Memory:
    """Return the memory of the stage that takes most."""
    planned = [plan_memory(anatomy, training, machine) for anatomy in anatomies]
    return max(planned, key=lambda memory: memory.peak)


def _problem(anatomies: Sequence[Anatomy], training: Training, machine: Machine) -> str:
    """Say why nothing fits, and which single change would do."""
    assert machine.accelerator is not None
    card, num_devices = machine.accelerator, machine.num_devices
    if training.batch_rows % num_devices:
        return (
            f"training.batch_rows {training.batch_rows} cannot be shared out among {num_devices} "
            f"devices: give a multiple of {num_devices}."
        )
    least = training.model_copy(
        update={"micro_rows": 1, "activation_checkpointing": True, "mesh": Mesh()}
    )
    needed = _worst(anatomies, least, machine).peak
    ways: list[str] = []
    for changes in _SMALLER if num_devices == 1 else ():
        if _fastest(anatomies, training.model_copy(update=changes), machine) is not None:
            ways.append(" and ".join(f"training.{key}: {value}" for key, value in changes.items()))
            break
    count = 2 * num_devices
    while count <= _MOST_DEVICES and training.batch_rows % count == 0:
        more = replace(machine, num_devices=count)
        if _fastest(anatomies, training, more) is not None:
            ways.append(f"at least {count} devices")
            break
        count *= 2
    return (
        f"Does not fit: with one row at a time and every layer recomputed each of {num_devices} x "
        f"{card.name} would hold {needed / 2**30:.0f} GiB, and {machine.room / 2**30:.0f} GiB are "
        f"free. It takes {' or '.join(ways) or 'another accelerator, or fewer new experts'}."
    )


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]
