"""What a run costs, before it starts: parameters, FLOPs, memory, time, and settings that fit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.evaluate.scorecard import Parameters
from langraft.graft.freeze import set_trainable
from langraft.graft.moe.expanded_ffn import expanded_ffns
from langraft.graft.surgery import graft_info
from langraft.graft.wrappers.free_columns import FreeColumnProjection
from langraft.plan.flops import flops_per_token
from langraft.plan.hardware import Hardware
from langraft.plan.memory import Memory, plan_memory
from langraft.plan.model_shape import ModelShape
from langraft.plan.original_text import with_text_of
from langraft.plan.read_shape import read_model_shape
from langraft.plan.search import SearchResult, search_settings, why_impossible
from langraft.plan.speed import Speed, plan_speed
from langraft.train.loop import num_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage's cost.

    Attributes:
        name: Name of the stage.
        tokens: Its length, rounded up to whole steps.
        num_steps: Optimizer steps.
        trainable: Parameters that train.
        flops_per_token: Forward, backward and recomputation.
        memory: Memory of one device.
        speed: None without an accelerator.
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
        """Peak memory of one device."""
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
            **({"speed": asdict(self.speed)} if self.speed else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a method costs on a base.

    Attributes:
        method: Key of the method.
        parameters: Parameters of the grafted model, without the frozen copies of columns that
            trained ones take the place of; trainable are those of any stage.
        stages: In order.
        hardware: The devices that memory and speed are planned for.
        search: Settings that fit the hardware; None without an accelerator.
        notes: Warnings and limits of the figures.
    """

    method: str
    parameters: Parameters
    stages: tuple[StagePlan, ...]
    hardware: Hardware
    search: SearchResult | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data, with totals."""
        return {
            "method": self.method,
            "parameters": asdict(self.parameters),
            "stages": [stage.to_json() for stage in self.stages],
            "machine": self.hardware.to_json(),
            **({"proposal": self.search.to_json()} if self.search else {}),
            "notes": list(self.notes),
            "tokens": sum(stage.tokens for stage in self.stages),
            "training_flops": sum(stage.training_flops for stage in self.stages),
        }


def plan_method(
    model: Any,
    stages: tuple[Stage, ...],
    training: Training,
    method: str,
    hardware: Hardware | None = None,
    original_rows: Mapping[str, float] | None = None,
) -> Plan:
    """Plan the training of a grafted model, which may be without weights (on the meta device).

    Args:
        model: The grafted model; its ``requires_grad`` flags are changed.
        stages: Complete stages.
        training: Batch shape, precision, mesh.
        method: Key of the method.
        hardware: Devices to train on; by default one, and only memory is planned.
        original_rows: By stage, how often the original FFN read a token, where it was measured.
    """
    hardware = (hardware or Hardware()).in_precision(training.dtype)
    shapes: list[ModelShape] = []
    trained = dict[str, int]()
    info = graft_info(model)
    for stage in stages:
        assert stage.trains is not None
        found = set_trainable(model, stage.trains, token_rows=info.method.token_rows)
        trained |= {name: parameter.numel() for name, parameter in found.items()}
        rows = (original_rows or {}).get(stage.name)
        shapes.append(with_text_of(read_model_shape(model), stage, info.languages, rows))
    problem = why_impossible(shapes[0], training, hardware)
    planned = tuple(
        _plan_stage(shape, stage, training, hardware, has_speed=not problem)
        for shape, stage in zip(shapes, stages, strict=True)
    )
    total = shapes[0].weights.total - _num_replaced(model)
    return Plan(
        method=method,
        parameters=Parameters(
            total=total, active=total - _num_idle(model), trainable=sum(trained.values())
        ),
        stages=planned,
        hardware=hardware,
        search=search_settings(shapes, [stage.tokens for stage in planned], training, hardware)
        if hardware.accelerator is not None
        else None,
        notes=_notes(planned, training, hardware, problem),
    )


def _plan_stage(
    shape: ModelShape,
    stage: Stage,
    training: Training,
    hardware: Hardware,
    *,
    has_speed: bool,
) -> StagePlan:
    steps = num_steps(stage, training)
    tokens = steps * training.batch_rows * training.sequence_length
    flops = flops_per_token(shape, training)
    has_speed = has_speed and hardware.accelerator is not None
    return StagePlan(
        name=stage.name,
        tokens=tokens,
        num_steps=steps,
        trainable=shape.weights.trained,
        flops_per_token=flops,
        memory=plan_memory(shape, training, hardware),
        speed=plan_speed(shape, training, hardware, tokens, flops) if has_speed else None,
    )


def _notes(
    stages: Sequence[StagePlan], training: Training, hardware: Hardware, problem: str
) -> tuple[str, ...]:
    notes = [problem] if problem else []
    card = hardware.accelerator
    if card is None:
        return tuple(notes)
    worst = max(stage.memory_bytes for stage in stages)
    if not problem and worst > hardware.usable_bytes:
        notes.append(
            f"as it is set it does not fit: {worst / 2**30:.1f} GiB of the "
            f"{hardware.usable_bytes / 2**30:.1f} GiB that are free"
        )
    if not card.has_bfloat16 and training.dtype == "bfloat16":
        notes.append(
            f"{card.name} has no products in bfloat16: it takes bfloat16 by way of float32, no "
            "faster than the hours here, which are of float32; set training.dtype: float32"
        )
    if hardware.num_devices > 1 and math.isinf(card.link) and not hardware.is_cpu:
        notes.append(
            "communication counts as taking no time: give link and network of the accelerator too"
        )
    if training.dtype == "float32" and card.has_bfloat16 and not hardware.is_cpu:
        notes.append(
            "training.dtype is float32; in bfloat16 the products of most accelerators are several "
            "times as fast"
        )
    return tuple(notes)


def _num_replaced(model: Any) -> int:
    """Return the number of frozen weights that trained columns take the place of."""
    split = (module for module in model.modules() if isinstance(module, FreeColumnProjection))
    return sum(module.columns.weight.numel() for module in split)


def _num_idle(model: Any) -> int:
    """Return the number of weights of experts that a token is not sent to."""
    idle = 0
    for ffn in expanded_ffns(model):
        per_expert = sum(p.numel() for p in ffn.experts.parameters()) // len(ffn.experts.weight_in)
        idle += per_expert * (ffn.num_competing - ffn.top_k)
    return idle
