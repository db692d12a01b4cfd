"""Export as a standard MoE class of transformers: choose the class and plan its tensors.

Shape suffixes: N = new experts, E = all experts, D = model width, F = FFN width.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from langraft.core.errors import ExportError
from langraft.export.tensors import PlannedTensor, layer_of, num_bytes, plan_base
from langraft.families.family import FAMILIES
from langraft.families.sites import split_gate_and_up
from langraft.families.tensors import TensorFiles
from langraft.families.twin import Twin
from langraft.families.twin_config import config_for_twin, why_not_exact
from langraft.graft.method import AbstractMethod, new_experts_by_layer

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"  # of every family with a twin
_PROJECTIONS = ("gate_proj", "up_proj", "down_proj")  # of the FFN of every family with a twin


def find_twin(config: Mapping[str, Any], methods: Sequence[AbstractMethod]) -> Twin | None:
    """Return the standard MoE class that holds a graft exactly; None for a graft without experts.

    Args:
        config: Of the base.
        methods: The method of each expansion.

    Raises:
        ExportError: when there is none, with the reason.
    """
    expansions = [method for method in methods if method.has_experts]
    if not expansions:
        return None
    model_type = str(config.get("model_type"))
    if model_type not in list(FAMILIES):
        raise _no_standard(
            f"no standard class holds a grafted {model_type!r} model exactly; there is one for "
            f"{', '.join(FAMILIES)}"
        )
    twin = FAMILIES[model_type].twin
    reason = twin.why_not(config) or why_not_exact(config, twin)
    if reason:
        raise _no_standard(
            f"{twin.architecture} cannot hold this {model_type} base exactly: {reason}"
        )
    for method in expansions:
        if method.has_adapter(is_output=False) or method.has_adapter(is_output=True):
            raise _no_standard("no standard class has adapters of attention or output")
        if not method.original_competes:
            raise _no_standard(
                f"no standard class has a gate between the original FFN and a branch of experts, "
                f"which {method.name} has"
            )
    counts = set(new_experts_by_layer(expansions, config["num_hidden_layers"]))
    has_open_layers = any(method.has_open_layers for method in expansions)
    if has_open_layers:
        counts.add(0)
    is_open = any(m.has_open_counts for m in expansions) or (
        has_open_layers and len(expansions) > 1
    )
    if len(counts - {0}) > 1 or is_open:
        raise _no_standard("no standard class has layers with different numbers of experts")
    return twin


def plan_standard(
    twin: Twin,
    config: Mapping[str, Any],
    experts_per_token: int,
    base: TensorFiles,
    graft: TensorFiles,
    *,
    is_tied_kept: bool,
) -> tuple[dict[str, Any], list[PlannedTensor]]:
    """Plan a folder of the twin's class.

    A layer without experts stays dense where the class has dense layers. Elsewhere every expert
    of it is a copy of its FFN: whichever the router chooses, weights that sum to 1 give the FFN.

    Args:
        twin: From ``find_twin``.
        config: Of the base.
        experts_per_token: K.
        base: Weights of the base.
        graft: Tensors of the graft's small form.
        is_tied_kept: Leave the output matrix of a tied base to the class that loads the folder.

    Returns:
        The twin's config and all its tensors, in the layout of released checkpoints.
    """
    stacks = {layer_of(name): name for name in graft if name.endswith(".experts.weight_in")}
    dense = tuple(layer for layer in range(config["num_hidden_layers"]) if layer not in stacks)
    copied = () if twin.has_dense_layers else dense
    sparse = [*stacks, *copied]
    planned = plan_base(base, graft, lambda name: _standard_name(name, twin, sparse))
    dtype = base.dtype(next(iter(base)))
    for name in stacks.values():
        planned += _plan_layer(graft, name.removesuffix(".experts.weight_in"), twin, dtype)
    num_experts = max(graft.shape(name)[0] for name in stacks.values()) + 1
    for layer in copied:
        planned += _plan_copies(planned, twin, layer, num_experts, config["hidden_size"], dtype)
    for layer in sparse:
        planned = _stack_experts(planned, twin, layer, num_experts)
    of_base = config_for_twin(config, twin)
    if of_base.get("tie_word_embeddings") and not (is_tied_kept or twin.must_tie):
        of_base["tie_word_embeddings"] = False
        embedding = next(tensor for tensor in planned if tensor.name == EMBEDDING)
        planned.append(embedding.copied_as(HEAD))
    return twin.config(of_base, num_experts, experts_per_token, dense), planned


def _standard_name(name: str, twin: Twin, sparse: Collection[int]) -> str:
    """Return a base tensor's name in the twin: the FFN of a sparse layer becomes expert 0."""
    path, _, projection = name.rpartition(".")[0].rpartition(".")
    if path.endswith(".mlp") and projection in _PROJECTIONS and layer_of(name) in sparse:
        return twin.expert_names(layer_of(name), 0)[_PROJECTIONS.index(projection)]
    return name


def copies_note(twin: Twin, graft: TensorFiles, num_layers: int) -> str:
    """Return what a user must know of layers whose experts are copies; empty without any."""
    num_copied = num_layers - sum(name.endswith(".experts.weight_in") for name in graft)
    if not num_copied or twin.has_dense_layers:
        return ""
    return (
        f"{twin.architecture} wants experts in every layer; where the graft has none "
        f"({num_copied} of {num_layers}) all experts are copies of the layer's FFN, which changes "
        "nothing but size and speed."
    )


def _plan_copies(
    planned: Sequence[PlannedTensor],
    twin: Twin,
    layer: int,
    num_experts: int,
    width: int,
    dtype: torch.dtype,
) -> Iterator[PlannedTensor]:
    """Plan the experts behind the first, and the router, of a layer whose FFN is expert 0."""
    first = {tensor.name: tensor for tensor in planned}
    originals = [first[name] for name in twin.expert_names(layer, 0)]
    for number in range(1, num_experts):
        for name, original in zip(twin.expert_names(layer, number), originals, strict=True):
            yield original.copied_as(name)
    block = twin.layer.format(layer)
    shape = [num_experts, width]
    yield PlannedTensor(
        f"{block}.{twin.router}.weight",
        num_bytes(shape, dtype),
        partial(torch.zeros, shape, dtype=dtype),
    )
    yield from _plan_zeros(twin, block, num_experts, width, dtype)


def _plan_layer(
    graft: TensorFiles, path: str, twin: Twin, dtype: torch.dtype
) -> Iterator[PlannedTensor]:
    """Plan the new experts and the router of a layer."""
    layer = layer_of(path)
    block = twin.layer.format(layer)
    weight_in, weight_out = f"{path}.experts.weight_in", f"{path}.experts.weight_out"
    num_new, width, inner = graft.shape(weight_out)  # (N, D, F)
    num_matrix_bytes = num_bytes([inner, width], dtype)
    for number in range(num_new):
        gate, up, down = twin.expert_names(layer, number + 1)
        for name, stack, half in (
            (gate, weight_in, 0),
            (up, weight_in, 1),
            (down, weight_out, None),
        ):
            make = partial(_expert, graft, stack, number, half, dtype)
            yield PlannedTensor(name, num_matrix_bytes, make)
    router = f"{path}.router.weight"
    yield PlannedTensor(
        f"{block}.{twin.router}.weight",
        num_bytes(graft.shape(router), dtype),
        lambda: graft.get(router).to(dtype),
    )
    yield from _plan_zeros(twin, block, num_new + 1, width, dtype)


def _plan_zeros(
    twin: Twin, block: str, num_experts: int, width: int, dtype: torch.dtype
) -> Iterator[PlannedTensor]:
    """Plan the tensors of zeros that loaders expect in a layer."""
    sizes = {1: 1, "D": width, "E": num_experts}
    for name, dimensions in twin.zero_tensors.items():
        shape = [sizes[each] for each in dimensions]
        make = partial(torch.zeros, shape, dtype=dtype)
        yield PlannedTensor(f"{block}.{name}", num_bytes(shape, dtype), make)


def _expert(
    graft: TensorFiles, stack: str, number: int, half: int | None, dtype: torch.dtype
) -> Tensor:
    """Read the matrix of one expert; of an inner one the gate half (0) or the up half (1)."""
    _, rows, columns = graft.shape(stack)
    part = (slice(number, number + 1), slice(0, rows), slice(0, columns))
    matrix = graft.get_part(stack, part)[0]
    return (matrix if half is None else split_gate_and_up(matrix, dim=0)[half]).to(dtype)


def _stack_experts(
    planned: list[PlannedTensor], twin: Twin, layer: int, num_experts: int
) -> list[PlannedTensor]:
    """Join the experts of a layer where the twin's checkpoints hold them in two tensors."""
    if twin.stacked_projections is None:
        return planned
    by_name = {tensor.name: tensor for tensor in planned}
    inner: list[PlannedTensor] = []
    outer: list[PlannedTensor] = []
    for expert in range(num_experts):
        gate, up, down = twin.expert_names(layer, expert)
        inner += [by_name.pop(gate), by_name.pop(up)]
        outer.append(by_name.pop(down))
    for projection, parts in zip(twin.stacked_projections, (inner, outer), strict=True):
        name = f"{twin.layer.format(layer)}.{projection}.weight"
        make = partial(_stack, parts, num_experts)
        of_base = tuple(name for part in parts for name in part.begins_with)
        by_name[name] = PlannedTensor(name, sum(part.num_bytes for part in parts), make, of_base)
    return list(by_name.values())


def _stack(parts: list[PlannedTensor], num_experts: int) -> Tensor:
    """Return (E, 2F, D) of every expert's gate and up, or (E, D, F) of every expert's down."""
    return torch.cat([part.make() for part in parts]).unflatten(0, (num_experts, -1))


def _no_standard(reason: str) -> ExportError:
    return ExportError(
        f"The graft has no standard format: {reason}. Set export.format: portable (a folder with "
        "its own modelling file, without export.gguf: llama.cpp has no code for it) or none "
        "(graft/, which langraft.load reads).",
        reason=reason,
    )
