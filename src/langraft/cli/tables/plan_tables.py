"""The plan of a run as tables for the terminal: its cost, and the text that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from langraft.core.in_words.quantities import short_count
from langraft.core.streams import stream_name
from langraft.plan.hardware import Hardware
from langraft.plan.memory import Memory
from langraft.plan.plan import Plan, StagePlan
from langraft.plan.text_plan import TextPlan
from langraft.report.tables import fill_lines, format_table
from langraft.report.wording import share_range

_PARTS = {
    "frozen": "frozen weights",
    "trained": "trained weights",
    "gradients": "gradients",
    "optimizer": "optimizer's moments",
    "whole_layers": "gathered layers (FSDP)",
    "casts": "weights in half precision",
    "activations": "activations",
    "working": "layer being computed",
    "head": "logits and output matrix",
}


def cost_text(plans: Sequence[Plan]) -> str:
    """Return parameters and settings that fit, and for each stage FLOPs, memory by part, time."""
    return "".join(_plan_text(plan) for plan in plans)


def stream_table(plan: TextPlan) -> str:
    """Return tokens, shares and repetition of every stream in every stage, and notes."""
    rows: list[Sequence[str] | None] = []
    for stage in plan.stages:
        rows += [
            (
                "" if number else stage.name,
                f"{stream_name(stream.stream)} ({stream.stream})",
                short_count(stream.tokens),
                share_range((stream.first_share, stream.last_share)),
                "?" if stream.epochs is None else f"{stream.epochs:.2f}",
            )
            for number, stream in enumerate(stage.streams)
        ]
        rows.append(None)
    table = format_table(["stage", "text", "tokens", "share", "times read"], rows)
    return table + _notes(plan.notes)


def _plan_text(plan: Plan) -> str:
    sizes = plan.parameters
    columns = ["stage", "tokens", "steps", "trained", "FLOPs/token", "FLOPs", "memory"]
    if plan.hardware.accelerator is not None:
        columns += ["tokens/s", "hours", "device-hours"]
    return (
        fill_lines(
            f"{plan.method}: {short_count(sizes.total)} parameters, "
            f"{short_count(sizes.active)} active per token, {short_count(sizes.trainable)} trained"
        )
        + "\n"
        + format_table(columns, [_stage_cells(stage) for stage in plan.stages])
        + _memory_table(plan)
        + _search_text(plan)
        + _notes(plan.notes)
    )


def _notes(notes: Sequence[str]) -> str:
    return "".join(fill_lines(f"note: {note}") + "\n" for note in notes)


def _stage_cells(stage: StagePlan) -> list[str]:
    cells = [
        stage.name,
        short_count(stage.tokens),
        f"{stage.num_steps:,}",
        short_count(stage.trainable),
        f"{stage.flops_per_token:.2e}",
        f"{stage.training_flops:.2e}",
        _gib(stage.memory_bytes),
    ]
    if stage.speed is not None:
        speed = stage.speed
        cells += [f"{speed.tokens_per_second:,.0f}", f"{speed.hours:,.2f}"]
        cells.append(f"{speed.device_hours:,.0f}")
    return cells


def _memory_table(plan: Plan) -> str:
    """Return memory of one device by part, without parts that are 0 in every stage."""
    stages = plan.stages
    rows: list[list[str]] = []
    for field in fields(Memory):
        sizes = [getattr(stage.memory, field.name) for stage in stages]
        if any(sizes):
            rows.append([_PARTS[field.name], *(_gib(size) for size in sizes)])
    rows.append(["peak", *(_gib(stage.memory_bytes) for stage in stages)])
    return format_table(["memory of a device", *(stage.name for stage in stages)], rows)


def _search_text(plan: Plan) -> str:
    """Return the lines to paste and what they give, or why nothing fits."""
    search = plan.search
    if search is None:
        return ""
    if search.memory is None:
        return fill_lines(f"{_devices(plan.hardware)}. {search.problem}", "") + "\n"
    times = ", ".join(
        f"{stage.name} {speed.tokens_per_second:,.0f} tokens/s, {speed.hours:,.2f} hours"
        for stage, speed in zip(plan.stages, search.speeds, strict=True)
    )
    found = (
        f"{_devices(plan.hardware)}. The fastest settings that fit take "
        f"{_gib(search.memory.peak)} of the {_gib(plan.hardware.usable_bytes)} free on a device: "
        f"{times}."
    )
    return f"{fill_lines(found, '')}\n\n{search.yaml}\n\n"


def _devices(hardware: Hardware) -> str:
    assert hardware.accelerator is not None
    return (
        f"On {hardware.num_devices} x {hardware.accelerator.name}, products at "
        f"{hardware.flops_utilisation:.0%} of {hardware.accelerator.peak_flops / 1e12:,.3g} TFLOP/s"
    )


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"
