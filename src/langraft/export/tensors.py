"""The tensors of an exported folder, each made when it is written and not before.

Shape suffixes: N = new experts, D = model width, F = FFN width, R = rare rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from langraft.core.errors import ExportError
from langraft.families.twins import Twin

_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
_FFN = {"gate_proj": "gate", "up_proj": "up", "down_proj": "down"}


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """One tensor of the export.

    Attributes:
        name: In the released layout of the target class.
        num_bytes: What it will take.
        make: Reads and builds it.
    """

    name: str
    num_bytes: int
    make: Callable[[], Tensor]


class TensorFiles:
    """Named tensors in safetensors files, read one at a time."""

    def __init__(self, paths: list[Path], stack: ExitStack) -> None:
        """Open the files for as long as ``stack`` lives."""
        self._file_of: dict[str, Any] = {}
        for path in paths:
            file: Any = stack.enter_context(safe_open(path, framework="pt"))
            self._file_of |= dict.fromkeys(file.keys(), file)

    @classmethod
    def of_folder(cls, folder: Path, stack: ExitStack) -> TensorFiles:
        """Open all weights of a Hugging Face folder."""
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            return cls([folder / name for name in names], stack)
        paths = sorted(folder.glob("*.safetensors"))
        if not paths:
            raise ExportError(
                f"{folder} holds no safetensors weights; an export is written from those. Convert "
                "the base with save_pretrained first."
            )
        return cls(paths, stack)

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __contains__(self, name: str) -> bool:
        return name in self._file_of

    def get(self, name: str) -> Tensor:
        """Read one tensor."""
        return self._file_of[name].get_tensor(name)

    def part(self, name: str, index: int) -> Tensor:
        """Read one entry of a stacked tensor."""
        return self._file_of[name].get_slice(name)[index]

    def shape(self, name: str) -> list[int]:
        """Return a tensor's shape without reading it."""
        return self._file_of[name].get_slice(name).get_shape()

    def dtype(self, name: str) -> torch.dtype:
        """Return a tensor's dtype without reading it."""
        return _DTYPES[self._file_of[name].get_slice(name).get_dtype()]


def plan_tensors(
    base: TensorFiles, graft: TensorFiles, rare_tokens: list[int], twin: Twin | None
) -> list[PlannedTensor]:
    """Plan the whole export: base tensors renamed, rows folded in, experts unstacked.

    Args:
        base: Weights of the base.
        graft: Tensors of the graft's small form.
        rare_tokens: Tokens whose rows have additions.
        twin: Names of its tensors; None for a model without experts, which keeps its names.
    """
    changed = {_without_wrapper(name): name for name in graft if _is_of_base(name)}
    planned: list[PlannedTensor] = []
    for name in base:
        dtype = base.dtype(name)
        source, stored = (graft, changed[name]) if name in changed else (base, name)
        target = _twin_name(name, twin) if twin else name
        delta = name.removesuffix(".weight") + ".deltas.delta"
        delta = delta if delta in graft else ""
        planned.append(
            PlannedTensor(
                target,
                _num_bytes(base.shape(name), dtype),
                lambda source=source, stored=stored, delta=delta, dtype=dtype: _base_tensor(
                    source, stored, graft, delta, rare_tokens
                ).to(dtype),
            )
        )
    if twin is not None:
        planned += _plan_experts(graft, twin, base.dtype(next(iter(base))))
    return planned


def _plan_experts(graft: TensorFiles, twin: Twin, dtype: torch.dtype) -> Iterator[PlannedTensor]:
    for name in graft:
        if not name.endswith(".experts.weight_in"):
            continue
        layer = _layer(name)
        outer = name.replace("weight_in", "weight_out")
        num_new, width, inner = graft.shape(outer)
        for number in range(num_new):
            names = twin.expert_names(layer, number + 1)
            for part, half in (("gate", 0), ("up", 1)):
                yield PlannedTensor(
                    names[part],
                    _num_bytes([inner, width], dtype),
                    lambda name=name, number=number, half=half: (
                        graft.part(name, number).chunk(2)[half].to(dtype)
                    ),
                )
            yield PlannedTensor(
                names["down"],
                _num_bytes([width, inner], dtype),
                lambda outer=outer, number=number: graft.part(outer, number).to(dtype),
            )
        router = name.replace("experts.weight_in", "router.weight")
        yield PlannedTensor(
            twin.router_name(layer),
            _num_bytes(graft.shape(router), dtype),
            lambda router=router: graft.get(router).to(dtype),
        )
        for constant, sizes in twin.constants(layer, width).items():
            yield PlannedTensor(
                constant,
                _num_bytes(sizes, dtype),
                lambda sizes=sizes: torch.zeros(sizes, dtype=dtype),
            )


def _base_tensor(
    source: TensorFiles, stored: str, graft: TensorFiles, delta: str, rare_tokens: list[int]
) -> Tensor:
    tensor = source.get(stored)
    if not delta:
        return tensor
    rows = torch.tensor(rare_tokens)
    return tensor.float().index_add(0, rows, graft.get(delta).float())


def _twin_name(name: str, twin: Twin) -> str:
    """Return a base tensor's name in the twin: the FFN becomes expert 0, the rest stays."""
    module, _, _ = name.rpartition(".")
    for part, role in _FFN.items():
        if module.endswith(f".mlp.{part}"):
            return twin.expert_names(_layer(name), 0)[role]
    return name


def _layer(name: str) -> int:
    return next(int(part) for part in name.split(".") if part.isdigit())


def _is_of_base(name: str) -> bool:
    ours = (".experts.", ".router.", ".deltas.", "langraft.")
    return not any(part in name or name.startswith(part) for part in ours)


def _without_wrapper(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "base")


def _num_bytes(shape: list[int], dtype: torch.dtype) -> int:
    size = dtype.itemsize
    for length in shape:
        size *= length
    return size
