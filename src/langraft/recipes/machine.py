"""Accelerators by name, and the devices that a plan is for.

Peaks and memory are those of the vendors' public data sheets: dense products in bfloat16, without
sparsity, and in float32, without TF32 (torch's default). Links are what one device sends a second
in one direction: to its neighbours in the node, and, as in the vendors' own servers, to other
nodes.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from langraft.core.errors import RecipeError, did_you_mean

_DEFAULT_SHARE = 0.4
_SHARE_OF_LINK = 0.7
_GIB = 2**30
_MEASURED_WIDTH = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One device.

    Attributes:
        name: As the vendor calls it.
        peak_flops: Operations a second of dense products, in bfloat16.
        float32_flops: The same in float32.
        memory_bytes: Of the device.
        memory_bandwidth: Bytes a second.
        link: Bytes a second to neighbours in the node.
        network: Bytes a second to other nodes; infinite where not known, as the other two.
        per_node: Devices of a node.
    """

    name: str
    peak_flops: float
    float32_flops: float
    memory_bytes: int
    memory_bandwidth: float
    link: float
    network: float
    per_node: int = 8


def _card(
    name: str,
    tflops: float,
    float32_tflops: float,
    gib: int,
    bandwidth: float,
    link: float,
    network: float,
) -> Accelerator:
    """Read a line of the table: twice TFLOP/s, GiB, and three times GB/s."""
    return Accelerator(
        name=name,
        peak_flops=tflops * 1e12,
        float32_flops=float32_tflops * 1e12,
        memory_bytes=gib * _GIB,
        memory_bandwidth=bandwidth * 1e9,
        link=link * 1e9,
        network=network * 1e9,
    )


#                   TFLOP/s: bfloat16, float32  GiB  GB/s: memory, link, network
ACCELERATORS: Mapping[str, Accelerator] = {
    card.name: card
    for card in (
        _card("A100-40", 312, 19.5, 40, 1555, 300, 25),
        _card("A100-80", 312, 19.5, 80, 2039, 300, 25),
        _card("H100", 989, 67, 80, 3350, 450, 50),
        _card("H200", 989, 67, 141, 4800, 450, 50),
        _card("B200", 2250, 75, 180, 8000, 900, 50),
        _card("L40S", 362, 91.6, 48, 864, 32, 25),
        _card("MI300X", 1307, 163.4, 192, 5300, 448, 50),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Devices of one kind.

    Attributes:
        accelerator: None where only memory is asked for.
        num_devices: One process each.
        share_of_peak: Of the accelerator's peak, what all counted operations reach, recomputed
            ones among them.
        is_cpu: Whether the host is the device, where experts' rows are laid out by count.
    """

    accelerator: Accelerator | None = None
    num_devices: int = 1
    share_of_peak: float = _DEFAULT_SHARE
    is_cpu: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        if self.accelerator is None:
            return {"num_devices": self.num_devices}
        return {
            "accelerator": self.accelerator.name,
            "peak_flops": self.accelerator.peak_flops,
            "memory_bytes": self.accelerator.memory_bytes,
            "num_devices": self.num_devices,
            "share_of_peak": self.share_of_peak,
        }

    @property
    def room(self) -> float:
        """Bytes of a device that may be planned for: 1 GiB goes to its context, 5% to gaps."""
        assert self.accelerator is not None
        return 0.95 * (self.accelerator.memory_bytes - _GIB)

    @property
    def device_type(self) -> str:
        """What torch calls its devices."""
        return "cpu" if self.is_cpu else "cuda"

    def in_precision(self, dtype: str) -> Machine:
        """Return the same devices with the peak of products in ``float32`` or ``bfloat16``."""
        card = self.accelerator
        if card is None or dtype == "bfloat16":
            return self
        return replace(self, accelerator=replace(card, peak_flops=card.float32_flops))

    def bandwidth(self, num_members: int, neighbours: int) -> float:
        """Return the bytes a second at which each device of a group gathers from the others.

        Devices of a node that belong to the group share the way out of it: each has a network card
        of its own and a ring through each.

        Args:
            num_members: Devices of the group.
            neighbours: How many of them stand in one node.
        """
        assert self.accelerator is not None
        card = self.accelerator
        if num_members <= neighbours:
            return card.link * _SHARE_OF_LINK
        return min(card.link, card.network * neighbours) * _SHARE_OF_LINK


def find_machine(
    name: str | None, num_devices: int = 1, share_of_peak: float = _DEFAULT_SHARE
) -> Machine:
    """Return devices by name; of ``cpu`` the peak is measured here.

    Args:
        name: One of ``ACCELERATORS``, ``cpu``, or none where only memory is asked for.
        num_devices: How many.
        share_of_peak: What products reach of it.

    Raises:
        RecipeError: for an unknown name.
    """
    if name is None:
        return Machine(num_devices=num_devices, share_of_peak=share_of_peak)
    if name.lower() == "cpu":
        return Machine(
            accelerator=_this_processor(),
            num_devices=num_devices,
            share_of_peak=share_of_peak,
            is_cpu=True,
        )
    card = next((c for c in ACCELERATORS.values() if c.name.lower() == name.lower()), None)
    if card is None:
        raise RecipeError(
            f"--accelerator: given {name!r}; known: cpu, {', '.join(ACCELERATORS)}."
            f"{did_you_mean(name.upper(), ACCELERATORS)}"
        )
    return Machine(accelerator=card, num_devices=num_devices, share_of_peak=share_of_peak)


def _this_processor() -> Accelerator:
    """Measure a product of two matrices with the threads that torch has here."""
    matrix = torch.ones(_MEASURED_WIDTH, _MEASURED_WIDTH)
    fastest = math.inf
    for _ in range(4):
        started = time.perf_counter()
        _ = matrix @ matrix
        fastest = min(fastest, time.perf_counter() - started)
    peak = 2 * _MEASURED_WIDTH**3 / fastest
    return Accelerator(
        name="this processor, in float32",
        peak_flops=peak,
        float32_flops=peak,
        memory_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        memory_bandwidth=math.inf,
        link=math.inf,
        network=math.inf,
        per_node=1,
    )
