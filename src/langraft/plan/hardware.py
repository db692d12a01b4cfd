"""The devices that a plan is for."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, replace
from typing import Any

import torch

from langraft.core.settings.training import Mesh
from langraft.plan.accelerators import Accelerator, find_accelerator

_DEFAULT_UTILISATION = 0.4
_LINK_UTILISATION = 0.7
_GIB = 2**30
_MEASURED_WIDTH = 1024


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
        name: Of a known accelerator or JSON (see ``find_accelerator``), ``cpu``, or None when only
            memory is planned.
        num_devices: How many.
        flops_utilisation: Share of the peak that matrix products reach.

    Raises:
        RecipeError: when the name is unknown or the JSON is wrong.
    """
    is_cpu = name is not None and name.lower() == "cpu"
    card = None
    if name is not None:
        card = _measure_cpu() if is_cpu else find_accelerator(name)
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
