"""Accelerators: known ones by name, and others as the user describes them in JSON.

Peaks and memory are from the vendors' data sheets: dense matrix products in bfloat16 that add up in
float32, without sparsity, and in float32, without TF32 (torch's default). Bandwidths are of one
device in one direction: to devices of its node, and, as in the vendors' own servers, to other
nodes; of cards that come without a server, over PCIe and 10 Gbit/s Ethernet.

    RTX-3090   GA102 architecture whitepaper, table 9
    RTX-4090   Ada GPU architecture whitepaper, appendix A
    RTX-5090   RTX Blackwell GPU architecture whitepaper, appendix A
    T4         Turing architecture whitepaper, appendix A; network of an AWS g4dn.metal
    A10G       NVIDIA A10G data sheet for Amazon EC2 G5; network of a g5.48xlarge
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, ValidationError

from langraft.core.errors import RecipeError, did_you_mean
from langraft.core.settings.settings import Settings, explain

_GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One kind of device.

    Attributes:
        name: As the vendor calls it.
        peak_flops: Operations a second of dense matrix products, in bfloat16, or in float32 where
            it has no bfloat16.
        float32_flops: The same in float32.
        memory_bytes: Memory of the device.
        memory_bandwidth: Bytes a second; infinite where not known, as the next two.
        link: Bytes a second to other devices of the node.
        network: Bytes a second to other nodes.
        per_node: Devices in a node.
        has_bfloat16: Whether it has matrix products in bfloat16.
    """

    name: str
    peak_flops: float
    float32_flops: float
    memory_bytes: int
    memory_bandwidth: float
    link: float
    network: float
    per_node: int = 8
    has_bfloat16: bool = True


ACCELERATORS: Mapping[str, Accelerator] = {
    name: Accelerator(
        name=name,
        peak_flops=(bfloat16 or float32) * 1e12,
        float32_flops=float32 * 1e12,
        memory_bytes=gib * _GIB,
        memory_bandwidth=memory * 1e9,
        link=link * 1e9,
        network=network * 1e9,
        has_bfloat16=bfloat16 is not None,
    )
    # TFLOP/s in bfloat16 and float32, GiB, and GB/s of memory, link and network. Of the 16 and
    # 24 GB of T4 and A10G their error correction leaves 15 and 22; the 65 TFLOP/s that a T4 is
    # known for are in float16, which no recipe can ask for.
    for name, bfloat16, float32, gib, memory, link, network in (
        ("A100-40", 312, 19.5, 40, 1555, 300, 25),
        ("A100-80", 312, 19.5, 80, 2039, 300, 25),
        ("H100", 989, 67, 80, 3350, 450, 50),
        ("H200", 989, 67, 141, 4800, 450, 50),
        ("B200", 2250, 75, 180, 8000, 900, 50),
        ("L40S", 362, 91.6, 48, 864, 32, 25),
        ("MI300X", 1307, 163.4, 192, 5300, 448, 50),
        ("RTX-3090", 71, 35.6, 24, 936, 32, 1.25),
        ("RTX-4090", 165.2, 82.6, 24, 1008, 32, 1.25),
        ("RTX-5090", 209.5, 104.8, 32, 1792, 64, 1.25),
        ("T4", None, 8.1, 15, 320, 16, 1.56),
        ("A10G", 70, 35, 22, 600, 32, 1.56),
    )
}

_Bandwidth = Annotated[float, Field(gt=0, le=10**6)]


class OwnAccelerator(Settings):
    """What `--accelerator` takes beside names: a device, as JSON."""

    tflops: float = Field(
        gt=0,
        le=10**6,
        description="Peak of dense matrix products in the recipe's training.dtype, in TFLOP/s.",
    )
    memory: float = Field(ge=1, le=10**5, description="Memory of a device, in GiB.")
    memory_bandwidth: _Bandwidth | None = Field(
        default=None, description="GB/s; left out: the optimizer counts as taking no time."
    )
    link: _Bandwidth | None = Field(
        default=None,
        description="GB/s to other devices of the node, in one direction; left out: communication "
        "there counts as taking no time.",
    )
    network: _Bandwidth | None = Field(
        default=None, description="GB/s of a device to other nodes; left out: as fast as link."
    )
    per_node: int = Field(default=8, ge=1, le=10**4, description="Devices in a node.")


def find_accelerator(given: str) -> Accelerator:
    """Return a known accelerator, or the one that JSON describes.

    Args:
        given: One of ``ACCELERATORS``, in any case, with or without hyphens; or JSON.

    Raises:
        RecipeError: when the name is unknown, or the JSON is not an ``OwnAccelerator``.
    """
    if given.lstrip().startswith("{"):
        return _own(given)
    card = next((c for c in ACCELERATORS.values() if _bare(c.name) == _bare(given)), None)
    if card is None:
        raise RecipeError(
            f"--accelerator: given {given!r}; known: cpu, {', '.join(ACCELERATORS)}; another one "
            'as JSON in TFLOP/s and GiB, such as \'{"tflops": 165, "memory": 24}\'.'
            f"{did_you_mean(given.upper(), ACCELERATORS)}"
        )
    return card


def _bare(name: str) -> str:
    return name.lower().replace("-", "").replace(" ", "")


def _own(given: str) -> Accelerator:
    try:
        data = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise RecipeError(
            f"--accelerator: given {given[:200]!r}, which is not JSON ({error}). Write it in "
            'single quotes, with double ones inside: \'{"tflops": 165, "memory": 24}\'.'
        ) from None
    try:
        own = OwnAccelerator.model_validate(data)
    except ValidationError as error:
        raise explain(error, OwnAccelerator, data, "--accelerator", noun="plan") from None
    link = own.link or math.inf
    return Accelerator(
        name=f"accelerator of {own.tflops:g} TFLOP/s and {own.memory:g} GiB",
        peak_flops=own.tflops * 1e12,
        float32_flops=own.tflops * 1e12,
        memory_bytes=int(own.memory * _GIB),
        memory_bandwidth=(own.memory_bandwidth or math.inf) * 1e9,
        link=link * 1e9,
        network=(own.network or link) * 1e9,
        per_node=own.per_node,
    )
