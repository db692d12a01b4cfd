"""Where the time of a step of langraft goes, and how near it comes to the machine's ceiling.

Part of speed.py (``--profile``). Ranges are opened by hooks on the modules of a graft while its own
loop trains it under torch's profiler. What runs in the backward pass counts for the part whose
forward pass asked for it (the profiler numbers both alike); what is computed again there, apart.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import contenders
import torch
from contenders import Shape
from real_text import RealText
from rounds import NUM_CORES, print_table
from steps import own_steps
from torch import nn
from torch.nn.modules import module as hooks
from torch.profiler import ProfilerActivity, profile, record_function

from langraft.curriculum.loader import Batch, PackedLoader
from langraft.families.sites import decoder_layers
from langraft.graft.moe.expanded_ffn import expanded_ffns
from langraft.train.compute.chunked_loss import TokenLosses
from langraft.train.processes.group import Processes

DATA, OPTIMIZER, REST = "data", "optimizer", "side losses, clipping, log, Python"
HEAD = "head and loss"
BACKWARD = "autograd::engine::evaluate_function"
STAGES = ("extend", "review")
NUM_STEPS = 3  # profiled, after one that is not


@dataclass(frozen=True, slots=True)
class NamedLoader:
    """A loader whose work the profiler sees."""

    loader: PackedLoader

    def rows(self, samples: range) -> Batch:
        """Return what the loader does."""
        with record_function(DATA):
            return self.loader.rows(samples)


def print_phases(shape: Shape, text: RealText, given: argparse.Namespace) -> None:
    """Print a table a stage and precision, and the ceiling."""
    torch.set_num_threads(NUM_CORES)
    processes = Processes(0, 1, torch.device(given.device))
    flops = contenders.flops_per_token(shape)
    for dtype in given.dtypes:
        ceilings = [matrix_ceilings(shape, getattr(torch, dtype), given.device)]
        rates: dict[str, float] = {}
        for number, stage in enumerate(STAGES, start=1):
            model = contenders.graft(shape, getattr(torch, dtype))
            loader = text.loader(contenders.training(shape, dtype))
            run = own_steps(model, shape, stage, dtype, NamedLoader(loader), processes)
            usual = min(run(1 + NUM_STEPS)[1:])
            with named_parts(model), profiler(given.device) as profiled:
                seconds = sum(run(NUM_STEPS)) / NUM_STEPS
            parts = time_by_part(profiled.events(), given.device)
            table = {
                name: {key: value / NUM_STEPS for key, value in found.items()}
                for name, found in parts.items()
            }
            table[REST] = {"forward": seconds - sum(sum(t.values()) for t in table.values())}
            print_part_table(f"stage {number}, {dtype}", table, seconds)
            print(f"\n{usual:.3f} s a step unprofiled, {seconds:.3f} s profiled")
            name = f"stage {number}"
            rates[name] = flops[name] * shape.tokens_per_step / usual / 1e9
            ceilings.append(matrix_ceilings(shape, getattr(torch, dtype), given.device))
        best = {label: max(found[label] for found in ceilings) for label in ceilings[0]}
        rows = [(label, f"{rate:,.0f}", "") for label, rate in best.items()]
        rows += [
            (name, f"{rate:,.0f}", f"{rate / max(best.values()):.0%}")
            for name, rate in rates.items()
        ]
        print_table(dtype, ("products of matrices and stages", "GFLOP/s", "of the best"), rows)


def profiler(device: str) -> profile:
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device == "cuda" else [])]
    return profile(activities=kinds)


@contextlib.contextmanager
def named_parts(model: Any) -> Iterator[None]:
    """Open a range of the profiler around the forward pass of every part, inside."""
    names = part_names(model)
    open_ranges: list[record_function] = []

    def name_of(module: nn.Module) -> str | None:
        return HEAD if isinstance(module, TokenLosses) else names.get(id(module))

    def begin(module: nn.Module, inputs: Any) -> None:
        del inputs
        if (name := name_of(module)) is not None:
            open_ranges.append(record_function(name))
            open_ranges[-1].__enter__()

    def end(module: nn.Module, inputs: Any, output: Any) -> None:
        del inputs, output
        if name_of(module) is not None:
            open_ranges.pop().__exit__(None, None, None)

    handles = [
        hooks.register_module_forward_pre_hook(begin),
        hooks.register_module_forward_hook(end, always_call=True),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def part_names(model: Any) -> dict[int, str]:
    """Return what the modules of a graft are called here; the innermost one counts."""
    names = {id(model.base_model): "embedding and mask", id(model.get_output_embeddings()): HEAD}
    for layer in decoder_layers(model)[1]:
        names[id(layer)] = "norms and residuals"
        names[id(layer.self_attn)] = "attention"
    for ffn in expanded_ffns(model):
        names[id(ffn)] = "routing and gathering"
        names[id(ffn.original)] = "original FFN"
        names[id(ffn.experts)] = "new experts"
    return names


def time_by_part(events: Any, device: str) -> dict[str, dict[str, float]]:
    """Give each operator's own time to one part and direction.

    Returns:
        Seconds by part, then by ``forward``, ``backward`` and ``again`` (recomputed).
    """
    parts = {*(DATA, OPTIMIZER, HEAD, "embedding and mask", "norms and residuals", "attention")}
    parts |= {"routing and gathering", "original FFN", "new experts"}
    on_cpu = [event for event in events if str(event.device_type).endswith("CPU")]
    part_of_number: dict[int, str] = {}
    placed: list[tuple[Any, str | None, Any]] = []
    for event in on_cpu:
        part, node = None, None
        above = event
        while above is not None:
            name = OPTIMIZER if above.name.startswith("Optimizer.step") else above.name
            if part is None and node is None and name in parts:
                part = name
            if name.startswith(BACKWARD):
                node = above
            above = above.cpu_parent
        placed.append((event, part, node))
        if part is not None and node is None and event.sequence_nr >= 0:
            part_of_number[event.sequence_nr] = part
    seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for event, part, node in placed:
        own = event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
        if node is None:
            where, direction = part, "forward"
        elif part is not None:
            where, direction = part, "again"
        else:
            where, direction = part_of_number.get(node.sequence_nr), "backward"
        if where is not None:
            seconds[where][direction] += own / 1e6
    return {name: dict(found) for name, found in seconds.items()}


def print_part_table(title: str, table: dict[str, dict[str, float]], total: float) -> None:
    directions = ("forward", "backward", "again")
    rows = []
    for name, found in sorted(table.items(), key=lambda item: -sum(item[1].values())):
        times = [found.get(direction, 0.0) for direction in directions]
        cells = [f"{1e3 * seconds:.1f}" if seconds else "" for seconds in times]
        rows.append((name, *cells, f"{sum(times) / total:.1%}"))
    print_table(f"{title}: ms a step", ("part", *directions, "share"), rows)


def matrix_ceilings(shape: Shape, dtype: torch.dtype, device: str) -> dict[str, float]:
    """Measure products of matrices, in GFLOP/s: a large one, and those of the experts."""
    num_rows = shape.tokens_per_step * shape.top_k // (shape.num_new_experts + 1)
    sizes = {
        "2048 x 2048 x 2048": (2048, 2048, 2048),
        "an expert's inner product": (num_rows, shape.width, 2 * shape.ffn_width),
        "an expert's outer product": (num_rows, shape.ffn_width, shape.width),
        "the output matrix": (shape.tokens_per_step, shape.width, shape.vocab_size),
    }
    return {
        f"{label} ({a} x {b} x {c})": matrix_rate(a, b, c, dtype, device)
        for label, (a, b, c) in sizes.items()
    }


def matrix_rate(a: int, b: int, c: int, dtype: torch.dtype, device: str) -> float:
    """Return the best of ten products of (a, b) and (b, c), written into place, in GFLOP/s."""
    left = torch.randn(a, b, device=device, dtype=dtype)
    right = torch.randn(c, b, device=device, dtype=dtype).T
    out = torch.empty(a, c, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        torch.mm(left, right, out=out)
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return 2 * a * b * c / best / 1e9
