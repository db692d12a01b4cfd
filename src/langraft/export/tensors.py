"""The tensors of an exported folder, each made when it is written and not before."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from langraft.core.errors import ExportError

OURS = (".experts.", ".router.", ".gate.", ".adapter_down.", ".adapter_up.", ".deltas.")
_DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


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


def plan_base(
    base: TensorFiles, graft: TensorFiles, rename: Callable[[str], str]
) -> list[PlannedTensor]:
    """Plan the base's tensors: trained ones from the graft, row additions folded in, renamed.

    Args:
        base: Weights of the base.
        graft: Tensors of the graft's small form.
        rename: From a base tensor's name to its name in the export.
    """
    changed = {_without_wrapper(name): name for name in graft if _is_of_base(name)}
    deltas = {_without_wrapper(name): name for name in graft if name.endswith(".deltas.delta")}
    rare_tokens = graft.get("langraft.rare_tokens")
    planned: list[PlannedTensor] = []
    for name in base:
        dtype = base.dtype(name)
        source, stored = (graft, changed[name]) if name in changed else (base, name)
        delta = deltas.get(name.removesuffix(".weight") + ".deltas.delta")
        make = partial(_base_tensor, source, stored, graft, delta, rare_tokens, dtype)
        planned.append(PlannedTensor(rename(name), num_bytes(base.shape(name), dtype), make))
    return planned


def layer_of(name: str) -> int:
    """Return the decoder layer that a tensor belongs to: the first number in its name."""
    return next(int(part) for part in name.split(".") if part.isdigit())


def num_bytes(shape: list[int], dtype: torch.dtype) -> int:
    """Return what a tensor takes."""
    return math.prod(shape) * dtype.itemsize


def _base_tensor(
    source: TensorFiles,
    stored: str,
    graft: TensorFiles,
    delta: str | None,
    rare_tokens: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    tensor = source.get(stored)
    if delta is not None:
        tensor = tensor.float().index_add(0, rare_tokens, graft.get(delta).float())
    return tensor.to(dtype)


def _is_of_base(name: str) -> bool:
    return not name.startswith("langraft.") and not any(part in name for part in OURS)


def _without_wrapper(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != "base")
