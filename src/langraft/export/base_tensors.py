"""Prove that what a graft did not train is the base's, bit for bit: in memory and in an export."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from langraft.core.errors import ExportError
from langraft.export.tensors import column_dimension_of, columns_of, names_by_expansion
from langraft.families.tensors import TensorFiles
from langraft.graft.description import methods_of, read_graft
from langraft.graft.freeze import never_trained, parameter_groups
from langraft.graft.store import RARE_TOKENS, empty_graft

_INSIDE_PEFT = ".base_layer."  # LoRA adds to these


def frozen_names(graft_folder: Path, base_folder: Path, empty: Any) -> set[str]:
    """Return the names of the base's tensors that a graft did not train.

    Args:
        graft_folder: Of the graft.
        base_folder: Of its base.
        empty: Its base; may be without weights.
    """
    names = {p: name for name, p in empty.named_parameters()}
    if not read_graft(graft_folder)["is_base_changed"]:
        return {*names.values(), *(name for name, _ in empty.named_buffers())}
    grafted = empty_graft(graft_folder, base_folder)
    left = never_trained(grafted)
    frozen = {n for n, p in _parameters_of_base(grafted, empty).items() if id(p) in left}
    if any(method.token_rows == "all" for method in methods_of(graft_folder)):
        return frozen
    matrices = (empty.get_input_embeddings(), empty.get_output_embeddings())
    return frozen | {names[matrix.weight] for matrix in matrices}


def prove_memory(model: Any, empty: Any, base: TensorFiles, frozen: Collection[str]) -> None:
    """Compare a loaded graft with the files of its base.

    Args:
        model: The graft, in float32.
        empty: Its base; may be without weights.
        base: The base's weights.
        frozen: Names of the base's tensors that must be equal.

    Raises:
        ExportError: when a bit differs.
    """
    for name, parameter in _parameters_of_base(model, empty).items():
        if name in frozen and not _are_equal(parameter.data, base.get(name).to(parameter.dtype)):
            raise ExportError(
                f"The graft in memory differs from {base.path(name)} in {name}, which it did not "
                "train. Nothing was kept. Please report this with graft.json."
            )


def held_tensors(model: Any, empty: Any) -> Callable[[Any], dict[str, tuple[str, ...]]]:
    """Note a graft's tensors of the base before it is merged.

    Returns:
        What names, in the merged model, those that merging does not touch: the name there, and
        that of the base's tensor.
    """
    inside = {p for name, p in model.named_parameters() if _INSIDE_PEFT in name}
    # Keys are the parameters themselves: the id of one that merging frees is soon another's.
    names = {p: name for name, p in _parameters_of_base(model, empty).items()}
    return lambda merged: {
        name: (names[p],) for name, p in merged.named_parameters() if p in names and p not in inside
    }


def prove_base_tensors(
    held: Mapping[str, tuple[str, ...]],
    frozen: set[str],
    base: TensorFiles,
    graft: TensorFiles,
    exported: TensorFiles,
) -> None:
    """Compare exported tensors with those of the base that they hold.

    Args:
        held: By name of an exported tensor the base's tensors that it begins with.
        frozen: Names of the base's tensors that were not trained.
        base: The base's weights.
        graft: Tensors of the graft; rows that it adds to and columns that it trained are left out.
        exported: What was written.

    Raises:
        ExportError: when a bit differs.
    """
    lists = [graft.get(name) for name in graft if name.startswith(RARE_TOKENS)]
    rare = torch.cat(lists) if lists else torch.zeros(0, dtype=torch.int64)
    for name, begins_with in held.items():
        if name not in exported or not frozen.issuperset(begins_with):
            continue
        expected = [base.get(each) for each in begins_with]
        found, whole = exported.get(name), torch.cat(expected) if expected[1:] else expected[0]
        if found.ndim != whole.ndim:  # all experts of a layer in one tensor, the original first
            found = found.flatten()[: whole.numel()].view(whole.shape)
        elif whole.ndim:
            found = found[: len(whole)]  # new tokens have rows behind
            if names_by_expansion(graft, begins_with[0].removesuffix(".weight") + ".deltas.delta"):
                is_kept = torch.ones(len(whole), dtype=torch.bool)
                is_kept[rare] = False
                found, whole = found[is_kept], whole[is_kept]
            found, whole = (
                _without_columns(each, graft, begins_with[0]) for each in (found, whole)
            )
        if not _are_equal(found, whole):
            raise ExportError(
                f"The export's {name} differs from {', '.join(begins_with)} in "
                f"{base.path(begins_with[0])}, which was not trained. Nothing was kept. Please "
                "report this with the base's config.json."
            )


def _without_columns(matrix: Tensor, graft: TensorFiles, name: str) -> Tensor:
    """Return a base tensor's frozen columns, or all of it where the graft has no free ones."""
    chosen = columns_of(graft, name)
    if chosen is None:
        return matrix
    columns, places = chosen
    dim = column_dimension_of(columns, matrix)
    is_kept = torch.ones(matrix.shape[dim], dtype=torch.bool)
    is_kept[places] = False
    return matrix.index_select(dim, is_kept.nonzero().flatten())


def _parameters_of_base(model: Any, empty: Any) -> dict[str, nn.Parameter]:
    """Return a graft's parameters of the base by the base's own names.

    Wrapping, inserting and tying keep their order.
    """
    parameters = list(parameter_groups(model)["base"].values())
    names = [name for name, _ in empty.named_parameters()]
    return dict(zip(names, parameters, strict=True))


def _are_equal(first: Tensor, second: Tensor) -> bool:
    """Return whether two tensors have the same precision, shape and bits, those of NaN included."""
    if first.dtype != second.dtype or first.shape != second.shape:
        return False
    bits = [each.detach().contiguous().flatten().view(torch.uint8) for each in (first, second)]
    return torch.equal(*bits)
