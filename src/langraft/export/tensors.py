"""Plan the tensors of an exported folder; each is built only when it is written."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from langraft.families.tensors import TensorFiles
from langraft.graft.store import FREE_COLUMNS, GRAFT_TENSORS, RARE_TOKENS

_ADDED_MODULES = (".experts.", ".router.", ".gate.", ".adapter_down.", ".adapter_up.")
# An export holds these in the base's own matrices.
_ADDED_ROWS_AND_COLUMNS = (".deltas.", ".new_rows.", ".columns.")
_JOINED = re.compile(r"\.(experts\.\w+|router\.weight)$")


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """One tensor of the export.

    Attributes:
        name: In the released layout of the target class.
        num_bytes: Its size in the file.
        make: Reads and builds it.
        begins_with: Names of the base's tensors that it holds first, one after the other; for
            most it is the whole of one, and for what was added to the base there is none.
    """

    name: str
    num_bytes: int
    make: Callable[[], Tensor]
    begins_with: tuple[str, ...] = ()

    def copied_as(self, name: str) -> PlannedTensor:
        """Plan it once more; its memory is its own, as safetensors writes none that is shared."""
        return replace(self, name=name, make=lambda: self.make().clone())


def open_graft(folder: Path) -> TensorFiles:
    """Return a graft's tensors; experts and routers of several expansions are joined."""
    files = TensorFiles.of_file(folder / GRAFT_TENSORS)
    stored = dict(files.stored)
    for name in sorted({unwrapped_name(name) for name in files if _JOINED.search(name)}):
        stored[name] = [stored.pop(n)[0] for n in names_by_expansion(files, name)]
    return TensorFiles(stored)


def plan_base(
    base: TensorFiles, graft: TensorFiles, rename: Callable[[str], str]
) -> list[PlannedTensor]:
    """Plan the base's tensors: trained ones come from the graft, rows and columns are merged in.

    Args:
        base: Weights of the base.
        graft: Tensors of the graft's small form.
        rename: From a base tensor's name to its name in the export.
    """
    trained = {unwrapped_name(name): name for name in graft if _is_of_base(name)}
    num_expansions = sum(name.startswith(RARE_TOKENS) for name in graft)
    tokens = [graft.get(f"{RARE_TOKENS}.{number}") for number in range(num_expansions)]
    tokens = [each for each in tokens if len(each)]
    planned: list[PlannedTensor] = []
    for name in base:
        dtype = base.dtype(name)
        read = partial(graft.get, trained[name]) if name in trained else partial(base.get, name)
        deltas = names_by_expansion(graft, name.removesuffix(".weight") + ".deltas.delta")
        rows = list(zip(tokens, deltas, strict=False))  # most tensors have no rows
        shape = base.shape(name)
        make = partial(_add_rows, read, graft, rows, dtype)
        if found := columns_of(graft, name):
            make = partial(_put_columns, make, *found)
        path, _, part = name.rpartition(".")
        for new_rows in names_by_expansion(graft, f"{path}.new_rows.weight"):
            num_new = graft.shape(new_rows)[0]
            make = partial(
                _append_rows, make, graft, new_rows if part == "weight" else None, num_new
            )
            shape = [shape[0] + num_new, *shape[1:]]
        planned.append(PlannedTensor(rename(name), num_bytes(shape, dtype), make, (name,)))
    return planned


def columns_of(graft: TensorFiles, name: str) -> tuple[Tensor, Tensor] | None:
    """Return a graft's free columns of a tensor of the base, and their places; None without."""
    path, _, part = name.rpartition(".")
    found = names_by_expansion(graft, f"{path}.columns.weight") if part == "weight" else []
    if not found:
        return None
    columns = graft.get(found[0])
    chosen = [graft.get(n) for n in graft if _is_choice_of(n, path)]
    # Without a choice all of them are free, whichever way the matrix is stored.
    return columns, chosen[0] if chosen else torch.arange(columns.shape[1])


def column_dimension_of(columns: Tensor, matrix: Tensor) -> int:
    """Return the dimension in which a matrix has its columns: that in which it has more of them."""
    return 0 if columns.shape[0] < matrix.shape[0] else 1


def num_new_rows(graft: TensorFiles) -> int:
    """Return how many rows the graft added to the vocabulary."""
    return next((graft.shape(name)[0] for name in graft if ".new_rows." in name), 0)


def layer_of(name: str) -> int:
    """Return the decoder layer that a tensor belongs to: the first number in its name."""
    return next(int(part) for part in name.split(".") if part.isdigit())


def num_bytes(shape: list[int], dtype: torch.dtype) -> int:
    """Return the size of a tensor."""
    return math.prod(shape) * dtype.itemsize


def names_by_expansion(graft: Iterable[str], name: str) -> list[str]:
    """Return a tensor's name in each expansion; the first expansion's is wrapped most deeply."""
    return sorted((n for n in graft if unwrapped_name(n) == name), key=len, reverse=True)


def unwrapped_name(name: str) -> str:
    """Return the name that a tensor would have if no module were wrapped around its own."""
    return ".".join(part for part in name.split(".") if part != "base")


def is_of_added_module(name: str) -> bool:
    """Return whether a graft's tensor belongs to experts, a router, a gate or an adapter."""
    return any(part in name for part in _ADDED_MODULES)


def _is_of_base(name: str) -> bool:
    is_added = is_of_added_module(name) or any(p in name for p in _ADDED_ROWS_AND_COLUMNS)
    return not is_added and not name.startswith("langraft.")


def _is_choice_of(name: str, projection: str) -> bool:
    return name.startswith(f"{FREE_COLUMNS}.") and name.split(".", 3)[3] == projection


def _put_columns(make: Callable[[], Tensor], columns: Tensor, places: Tensor) -> Tensor:
    """Return a matrix of the base with the columns that were trained in their places."""
    matrix = make()
    dim = column_dimension_of(columns, matrix)
    return matrix.index_copy(dim, places, columns.to(matrix.dtype))


def _add_rows(
    read: Callable[[], Tensor],
    graft: TensorFiles,
    rows: list[tuple[Tensor, str]],
    dtype: torch.dtype,
) -> Tensor:
    """Return a base tensor with what each expansion adds to the rows of its rare tokens."""
    tensor = read()
    for tokens, delta in rows:
        tensor = tensor.float().index_add(0, tokens, graft.get(delta).float())
    return tensor.to(dtype)


def _append_rows(
    make: Callable[[], Tensor], graft: TensorFiles, new_rows: str | None, num_new: int
) -> Tensor:
    """Return a matrix with the rows of new tokens, or a bias with zeros for them."""
    tensor = make()
    if new_rows is None:
        return torch.cat([tensor, tensor.new_zeros(num_new)])
    return torch.cat([tensor, graft.get(new_rows).to(tensor.dtype)])
