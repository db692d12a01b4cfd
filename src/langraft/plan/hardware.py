"""Accelerators by name, and the devices that a plan is for.

Peaks and memory are from the vendors' data sheets: dense matrix products in bfloat16, without
sparsity, and in float32, without TF32 (torch's default). Bandwidths are of one device in one
direction: to devices of its node, and, as in the vendors' own servers, to other nodes.
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
from langraft.core.settings.training import Mesh

_DEFAULT_UTILISATION = 0.4
_LINK_UTILISATION = 0.7
_GIB = 2**30
_MEASURED_WIDTH = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One kind of device.

    Attributes:
        name: As the vendor calls it.
        peak_flops: Operations a second of dense matrix products, in bfloat16.
        float32_flops: The same in float32.
        memory_bytes: Memory of the device.
        memory_bandwidth: Bytes a second; infinite where not known, as the next two.
        link: Bytes a second to other devices of the node.
        network: Bytes a second to other nodes.
        per_node: Devices in a node.
    """

    name: str
    peak_flops: float
    float32_flops: float
    memory_bytes: int
    memory_bandwidth: float
    link: float
    network: float
    per_node: int = 8


ACCELERATORS: Mapping[str, Accelerator] = {
    name: Accelerator(
        name=name,
        peak_flops=bfloat16 * 1e12,
        float32_flops=float32 * 1e12,
        memory_bytes=gib * _GIB,
        memory_bandwidth=memory * 1e9,
        link=link * 1e9,
        network=network * 1e9,
    )
    # TFLOP/s in bfloat16 and float32, GiB, and GB/s of memory, link and network:
    for name, bfloat16, float32, gib, memory, link, network in (
        ("A100-40", 312, 19.5, 40, 1555, 300, 25),
        ("A100-80", 312, 19.5, 80, 2039, 300, 25),
        ("H100", 989, 67, 80, 3350, 450, 50),
        ("H200", 989, 67, 141, 4800, 450, 50),
        ("B200", 2250, 75, 180, 8000, 900, 50),
        ("L40S", 362, 91.6, 48, 864, 32, 25),
        ("MI300X", 1307, 163.4, 192, 5300, 448, 50),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Devices of one kind, which a run trains on.

    Attributes:
        accelerator: None when only memory is planned.
        num_devices: Number of devices, with one process each.
        flops_utilisation: Share of the accelerator's peak that is reached (model FLOPs utilisation,
            but recomputed operations count too).
        is_cpu: Whether the CPU is the device; there experts allocate only the rows they get.
    """

    accelerator: Accelerator | None = None
    num_devices: int = 1
    flops_utilisation: float = _DEFAULT_UTILISATION
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
            "share_of_peak": self.flops_utilisation,
        }

    @property
    def usable_bytes(self) -> float:
        """Memory of a device less 1 GiB for its context, less 5% for fragmentation."""
        assert self.accelerator is not None
        return 0.95 * (self.accelerator.memory_bytes - _GIB)

    @property
    def device_type(self) -> str:
        """The name of this kind of device in torch."""
        return "cpu" if self.is_cpu else "cuda"

    def num_shards(self, mesh: Mesh) -> int:
        """Return the number of devices that one copy of the model is sharded over."""
        return max(1, self.num_devices // mesh.replicate)

    def in_precision(self, dtype: str) -> Hardware:
        """Return the same devices with their peak in ``float32`` or ``bfloat16``."""
        card = self.accelerator
        if card is None or dtype == "bfloat16":
            return self
        return replace(self, accelerator=replace(card, peak_flops=card.float32_flops))

    def bandwidth(self, num_members: int, neighbours: int) -> float:
        """Return the bytes a second at which each device of a group gathers from the others.

        Across nodes the group uses the network cards of all its devices, one ring through each.

        Args:
            num_members: Devices in the group.
            neighbours: How many of them are in the same node.
        """
        assert self.accelerator is not None
        card = self.accelerator
        if num_members <= neighbours:
            return card.link * _LINK_UTILISATION
        return min(card.link, card.network * neighbours) * _LINK_UTILISATION


def find_hardware(
    name: str | None, num_devices: int = 1, flops_utilisation: float = _DEFAULT_UTILISATION
) -> Hardware:
    """Return devices by the name of their accelerator; the peak of ``cpu`` is measured here.

    Args:
        name: One of ``ACCELERATORS``, ``cpu``, or None when only memory is planned.
        num_devices: How many.
        flops_utilisation: Share of the peak that matrix products reach.

    Raises:
        RecipeError: when the name is unknown.
    """
    is_cpu = name is not None and name.lower() == "cpu"
    card = _measure_cpu() if is_cpu else None
    if name is not None and not is_cpu:
        card = next((c for c in ACCELERATORS.values() if c.name.lower() == name.lower()), None)
        if card is None:
            raise RecipeError(
                f"--accelerator: given {name!r}; known: cpu, {', '.join(ACCELERATORS)}."
                f"{did_you_mean(name.upper(), ACCELERATORS)}"
            )
    return Hardware(
        accelerator=card,
        num_devices=num_devices,
        flops_utilisation=flops_utilisation,
        is_cpu=is_cpu,
    )


def _measure_cpu() -> Accelerator:
    """Time a matrix product on this CPU, with the threads that torch uses."""
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
