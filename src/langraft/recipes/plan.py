"""The cost of a run before anything is spent: parameters, FLOPs, memory, time, and what fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from langraft.core.stage import Stage
from langraft.core.training import Training
from langraft.evaluate.scorecard import Parameters
from langraft.graft.expanded_ffn import expanded_ffns
from langraft.graft.freeze import set_trainable
from langraft.graft.surgery import graft_info
from langraft.recipes.anatomy import Anatomy, read_anatomy
from langraft.recipes.flops import flops_per_token
from langraft.recipes.machine import Machine
from langraft.recipes.memory import Memory, plan_memory
from langraft.recipes.proposal import Proposal, propose, why_impossible
from langraft.recipes.speed import Speed, plan_speed
from langraft.train.loop import num_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage's cost.

    Attributes:
        name: Of the stage.
        tokens: Rounded up to whole steps.
        num_steps: Optimizer steps.
        trainable: Parameters that train.
        flops_per_token: Forward, backward and what is computed a second time.
        memory: Of one device.
        speed: Where an accelerator is named.
    """

    name: str
    tokens: int
    num_steps: int
    trainable: int
    flops_per_token: float
    memory: Memory
    speed: Speed | None = None

    @property
    def memory_bytes(self) -> int:
        """The most that one device holds at once."""
        return self.memory.peak

    @property
    def training_flops(self) -> float:
        """Floating-point operations of the whole stage."""
        return self.flops_per_token * self.tokens

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "name": self.name,
            "tokens": self.tokens,
            "num_steps": self.num_steps,
            "trainable": self.trainable,
            "flops_per_token": self.flops_per_token,
            "memory_bytes": self.memory.to_json(),
            **({"speed": self.speed.to_json()} if self.speed else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a method costs on a base; notes say where the figures are bounds.

    Attributes:
        method: Its key.
        parameters: Of the grafted model; trainable in any stage.
        stages: In order.
        machine: What memory and speed are for.
        proposal: Settings that fit the machine, where an accelerator is named.
        notes: For the reader.
    """

    method: str
    parameters: Parameters
    stages: tuple[StagePlan, ...]
    machine: Machine
    proposal: Proposal | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data, with totals."""
        return {
            "method": self.method,
            "parameters": asdict(self.parameters),
            "stages": [stage.to_json() for stage in self.stages],
            "machine": self.machine.to_json(),
            **({"proposal": self.proposal.to_json()} if self.proposal else {}),
            "notes": list(self.notes),
            "tokens": sum(stage.tokens for stage in self.stages),
            "training_flops": sum(stage.training_flops for stage in self.stages),
        }


def plan_method(
    model: Any,
    stages: tuple[Stage, ...],
    training: Training,
    method: str,
    machine: Machine | None = None,
) -> Plan:
    """Count a grafted model, which may be without weights (on the meta device).

    Args:
        model: Grafted; which of its parameters train is changed on the way.
        stages: Complete.
        training: Batch shape, precision, mesh.
        method: Its key.
        machine: What it is to run on; left out: one device, of which memory alone is planned.
    """
    machine = (machine or Machine()).in_precision(training.dtype)
    anatomies: list[Anatomy] = []
    trained = dict[str, int]()
    for stage in stages:
        assert stage.trains is not None
        rows = graft_info(model).method.token_rows
        found = set_trainable(model, stage.trains, token_rows=rows)
        trained |= {name: parameter.numel() for name, parameter in found.items()}
        anatomies.append(read_anatomy(model))
    problem = why_impossible(anatomies[0], training, machine)
    planned = tuple(
        _plan_stage(anatomy, stage, training, machine, has_speed=not problem)
        for anatomy, stage in zip(anatomies, stages, strict=True)
    )
    total = anatomies[0].weights.total
    return Plan(
        method=method,
        parameters=Parameters(
            total=total, active=total - _idle(model), trainable=sum(trained.values())
        ),
        stages=planned,
        machine=machine,
        proposal=None
        if machine.accelerator is None
        else propose(anatomies, [stage.tokens for stage in planned], training, machine),
        notes=_notes(planned, training, machine, problem),
    )


def _plan_stage(
    anatomy: Anatomy, stage: Stage, training: Training, machine: Machine, *, has_speed: bool
) -> StagePlan:
    steps = num_steps(stage, training)
    tokens = steps * training.batch_rows * training.sequence_length
    has_speed = has_speed and machine.accelerator is not None
    return StagePlan(
        name=stage.name,
        tokens=tokens,
        num_steps=steps,
        trainable=anatomy.weights.trained,
        flops_per_token=flops_per_token(anatomy, training),
        memory=plan_memory(anatomy, training, machine),
        speed=plan_speed(anatomy, training, machine, tokens) if has_speed else None,
    )


def _notes(
    stages: Sequence[StagePlan], training: Training, machine: Machine, problem: str
) -> tuple[str, ...]:
    notes = [problem] if problem else []
    card = machine.accelerator
    if card is None:
        return tuple(notes)
    worst = max(stage.memory_bytes for stage in stages)
    if not problem and worst > machine.room:
        notes.append(
            f"as it is set it does not fit: {worst / 2**30:.1f} GiB of the "
            f"{machine.room / 2**30:.1f} GiB that are free"
        )
    if training.dtype == "float32" and not machine.is_cpu:
        notes.append(
            "training.dtype is float32; in bfloat16 the products of most accelerators are several "
            "times as fast"
        )
    return tuple(notes)


def _idle(model: Any) -> int:
    """Return the weights of the experts that a token does not meet."""
    idle = 0
    for ffn in expanded_ffns(model):
        per_expert = sum(p.numel() for p in ffn.experts.parameters()) // len(ffn.experts.weight_in)
        idle += per_expert * (ffn.num_competing - ffn.top_k)
    return idle
