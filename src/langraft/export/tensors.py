"""The tensors of an exported folder, each made when it is written and not before."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from langraft.core.errors import ArtifactError, ExportError
from langraft.graft.store import RARE_TOKENS

IN_MATRICES = (".deltas.", ".new_rows.")  # what an export holds in the base's own matrices
OURS = (".experts.", ".router.", ".gate.", ".adapter_down.", ".adapter_up.", *IN_MATRICES)
_JOINED = re.compile(r"\.(experts\.\w+|router\.weight)$")
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
        self._stored: dict[str, list[tuple[Any, str]]] = {}  # file and name there; several: joined
        for path in paths:
            try:
                file: Any = stack.enter_context(safe_open(path, framework="pt"))
            except (FileNotFoundError, SafetensorError) as error:
                raise ArtifactError(
                    f"{path} is missing or damaged: {error}. Write it again."
                ) from error
            self._stored |= {name: [(file, name)] for name in list(file.keys())}

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

    @classmethod
    def of_graft(cls, path: Path, stack: ExitStack) -> TensorFiles:
        """Open a graft's tensors, the experts and routers of all its expansions joined."""
        files = cls([path], stack)
        names = {without_wrapper(name) for name in files if _JOINED.search(name)}
        joined = {name: by_expansion(files, name) for name in names}
        stored = {name: [files._stored.pop(n)[0] for n in joined[name]] for name in sorted(names)}
        files._stored |= stored
        return files

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __contains__(self, name: str) -> bool:
        return name in self._stored

    def get(self, name: str) -> Tensor:
        """Read one tensor."""
        parts = [file.get_tensor(stored) for file, stored in self._stored[name]]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def part(self, name: str, index: int) -> Tensor:
        """Read one entry of a stacked tensor."""
        for file, stored in self._stored[name]:
            found = file.get_slice(stored)
            if index < found.get_shape()[0]:
                return found[index]
            index -= found.get_shape()[0]
        raise IndexError(name)

    def shape(self, name: str) -> list[int]:
        """Return a tensor's shape without reading it."""
        shapes = [file.get_slice(stored).get_shape() for file, stored in self._stored[name]]
        if len(shapes) == 1:
            return shapes[0]
        return [sum(shape[0] for shape in shapes), *shapes[0][1:]]

    def dtype(self, name: str) -> torch.dtype:
        """Return a tensor's dtype without reading it."""
        file, stored = self._stored[name][0]
        return _DTYPES[file.get_slice(stored).get_dtype()]


def plan_base(
    base: TensorFiles, graft: TensorFiles, rename: Callable[[str], str]
) -> list[PlannedTensor]:
    """Plan the base's tensors: trained ones from the graft, rows added or folded in, renamed.

    Args:
        base: Weights of the base.
        graft: Tensors of the graft's small form.
        rename: From a base tensor's name to its name in the export.
    """
    changed = {without_wrapper(name): name for name in graft if _is_of_base(name)}
    stored_rows = [name for name in graft if name.startswith(RARE_TOKENS)]
    rare_tokens = [graft.get(f"{RARE_TOKENS}.{number}") for number in range(len(stored_rows))]
    rare_tokens = [tokens for tokens in rare_tokens if len(tokens)]
    planned: list[PlannedTensor] = []
    for name in base:
        dtype = base.dtype(name)
        source, stored = (graft, changed[name]) if name in changed else (base, name)
        additions = by_expansion(graft, name.removesuffix(".weight") + ".deltas.delta")
        rows = list(zip(rare_tokens, additions, strict=False))  # none for most tensors
        shape = base.shape(name)
        make = partial(_base_tensor, source, stored, graft, rows, dtype)
        path, _, part = name.rpartition(".")
        for new_rows in by_expansion(graft, f"{path}.new_rows.weight"):
            num_new = graft.shape(new_rows)[0]
            make = partial(_continued, make, graft, new_rows if part == "weight" else None, num_new)
            shape = [shape[0] + num_new, *shape[1:]]
        planned.append(PlannedTensor(rename(name), num_bytes(shape, dtype), make))
    return planned


def num_new_rows(graft: TensorFiles) -> int:
    """Return how many rows the graft added to the vocabulary."""
    return next((graft.shape(name)[0] for name in graft if ".new_rows." in name), 0)


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
    rows: list[tuple[Tensor, str]],
    dtype: torch.dtype,
) -> Tensor:
    tensor = source.get(stored)
    for tokens, addition in rows:
        tensor = tensor.float().index_add(0, tokens, graft.get(addition).float())
    return tensor.to(dtype)


def _continued(
    make: Callable[[], Tensor], graft: TensorFiles, new_rows: str | None, num_new: int
) -> Tensor:
    """Return a matrix with its new rows, or a bias with zeros for them."""
    tensor = make()
    if new_rows is None:
        return torch.cat([tensor, tensor.new_zeros(num_new)])
    return torch.cat([tensor, graft.get(new_rows).to(tensor.dtype)])


def _is_of_base(name: str) -> bool:
    return not name.startswith("langraft.") and not any(part in name for part in OURS)


def by_expansion(graft: TensorFiles, name: str) -> list[str]:
    """Return the tensors of this name in each expansion, the first one, deepest inside, first."""
    return sorted((n for n in graft if without_wrapper(n) == name), key=len, reverse=True)


def without_wrapper(name: str) -> str:
    """Return the name that a tensor would have if nothing were wrapped around it."""
    return ".".join(part for part in name.split(".") if part != "base")
