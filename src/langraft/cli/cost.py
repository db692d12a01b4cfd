"""What a run costs, as plain text for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from rich.box import SIMPLE_HEAD
from rich.table import Table

from langraft.cli.plain import plain
from langraft.cli.show import short
from langraft.recipes.machine import Machine
from langraft.recipes.memory import Memory
from langraft.recipes.plan import Plan

_PARTS = {
    "frozen": "frozen weights",
    "trained": "trained weights",
    "gradients": "gradients",
    "optimizer": "optimizer's moments",
    "whole_layers": "layers that stand whole (FSDP)",
    "casts": "weights in half precision",
    "activations": "activations",
    "working": "layer being computed",
    "head": "logits and output matrix",
}


def cost_text(plans: Sequence[Plan]) -> str:
    """Return parameters and, for each stage, tokens, FLOPs, memory by part, time; what fits."""
    return "".join(_plan_text(plan) for plan in plans)


def _plan_text(plan: Plan) -> str:
    sizes = plan.parameters
    columns = ["stage", "tokens", "steps", "trained", "FLOPs/token", "FLOPs", "memory"]
    has_speed = plan.machine.accelerator is not None
    if has_speed:
        columns += ["tokens/s", "hours", "device-hours"]
    table = Table(*columns, box=SIMPLE_HEAD)
    for stage in plan.stages:
        cells = [
            stage.name,
            short(stage.tokens),
            f"{stage.num_steps:,}",
            short(stage.trainable),
            f"{stage.flops_per_token:.2e}",
            f"{stage.training_flops:.2e}",
            _gib(stage.memory_bytes),
        ]
        if stage.speed is not None:
            speed = stage.speed
            cells += [
                f"{speed.tokens_per_second:,.0f}",
                f"{speed.hours:,.2f}",
                f"{speed.device_hours:,.0f}",
            ]
        table.add_row(*cells)
    return (
        f"{plan.method}: {short(sizes.total)} parameters, {short(sizes.active)} active a "
        f"token, {short(sizes.trainable)} trained\n{plain(table)}"
        + _memory_table(plan)
        + _proposal_text(plan)
        + "".join(f"note: {note}\n" for note in plan.notes)
    )


def _memory_table(plan: Plan) -> str:
    """Return memory of one device by part, without the parts that are nothing in every stage."""
    stages = plan.stages
    table = Table("memory of a device", *(stage.name for stage in stages), box=SIMPLE_HEAD)
    for field in fields(Memory):
        sizes = [getattr(stage.memory, field.name) for stage in stages]
        if any(sizes):
            table.add_row(_PARTS[field.name], *(_gib(size) for size in sizes))
    table.add_row("most at once", *(_gib(stage.memory_bytes) for stage in stages))
    return plain(table)


def _proposal_text(plan: Plan) -> str:
    """Return the lines to paste and what they give, or why nothing fits."""
    proposal = plan.proposal
    if proposal is None:
        return ""
    if proposal.memory is None:
        return f"{_where(plan.machine)}. {proposal.problem}\n"
    times = ", ".join(
        f"{stage.name} {speed.tokens_per_second:,.0f} tokens/s, {speed.hours:,.2f} hours"
        for stage, speed in zip(plan.stages, proposal.speeds, strict=True)
    )
    return (
        f"{_where(plan.machine)}. The fastest settings that fit take "
        f"{_gib(proposal.memory.peak)} of the {_gib(plan.machine.room)} free on a device: "
        f"{times}.\n\n{proposal.lines}\n\n"
    )


def _where(machine: Machine) -> str:
    assert machine.accelerator is not None
    return (
        f"On {machine.num_devices} x {machine.accelerator.name}, products at "
        f"{machine.share_of_peak:.0%} of {machine.accelerator.peak_flops / 1e12:,.3g} TFLOP/s"
    )


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"
