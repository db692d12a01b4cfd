"""Standard folders: which MoE class of transformers holds a graft exactly, and its tensors there.

Shape suffixes: N = new experts, E = all experts, D = model width, F = FFN width.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig

from langraft.core.errors import ExportError
from langraft.export.tensors import PlannedTensor, TensorFiles, layer_of, num_bytes, plan_base
from langraft.families.family import FAMILIES
from langraft.families.twins import Twin
from langraft.graft.method import AbstractMethod
from langraft.graft.moe_method import AbstractMoEMethod

_FFN = {"gate_proj": "gate", "up_proj": "up", "down_proj": "down"}


def twin_of(config: Mapping[str, Any], methods: Sequence[AbstractMethod]) -> Twin | None:
    """Return the standard MoE class that holds a grafted base exactly; None without experts.

    Args:
        config: Of the base.
        methods: How it is grafted: one, or that of each expansion.

    Raises:
        ExportError: when there is none, with the reason.
    """
    expansions = [method for method in methods if isinstance(method, AbstractMoEMethod)]
    if not expansions:
        return None
    model_type = str(config.get("model_type"))
    if model_type not in list(FAMILIES):
        raise _no_standard(
            f"no standard class holds a grafted {model_type!r} model exactly; there is one for "
            f"{', '.join(FAMILIES)}"
        )
    family = FAMILIES[model_type]()
    reason = family.why_not(config)
    if reason:
        raise _no_standard(
            f"{family.twin.architecture} cannot hold this {model_type} base exactly: {reason}"
        )
    for method in expansions:
        if method.has_adapters:
            raise _no_standard("no standard class has adapters of attention or output")
        if not method.original_competes:
            raise _no_standard(
                f"no standard class has a gate between the original FFN and a branch of experts, "
                f"which {method.name} has"
            )
    by_expansion = [method.experts_by_layer(config["num_hidden_layers"]) for method in expansions]
    counts = {sum(of_layer) for of_layer in zip(*by_expansion, strict=True)}
    allocations = {method.allocation for method in expansions}
    if "probe_layers" in allocations:
        counts.add(0)
    is_open = "probe" in allocations or ("probe_layers" in allocations and len(expansions) > 1)
    if len(counts - {0}) > 1 or is_open:
        raise _no_standard("no standard class has layers with different numbers of experts")
    if 0 in counts and not family.twin.has_dense_layers:
        raise _no_standard(f"{family.twin.architecture} wants experts in every layer")
    return family.twin


def plan_standard(
    twin: Twin,
    config: Mapping[str, Any],
    experts_per_token: int,
    base: TensorFiles,
    graft: TensorFiles,
) -> tuple[dict[str, Any], list[PlannedTensor]]:
    """Plan a folder of the twin's class.

    Args:
        twin: From ``twin_of``.
        config: Of the base.
        experts_per_token: K.
        base: Weights of the base.
        graft: Tensors of the graft's small form.

    Returns:
        The twin's config and all its tensors, in the layout of released checkpoints.
    """
    stacks = {layer_of(name): name for name in graft if name.endswith(".experts.weight_in")}
    dense = tuple(layer for layer in range(config["num_hidden_layers"]) if layer not in stacks)
    planned = plan_base(base, graft, lambda name: _twin_name(name, twin, stacks))
    dtype = base.dtype(next(iter(base)))
    for name in stacks.values():
        planned += _plan_layer(graft, name.removesuffix(".experts.weight_in"), twin, dtype)
    num_experts = max(graft.shape(name)[0] for name in stacks.values()) + 1
    for layer in stacks:
        planned = _stack_experts(planned, twin, layer, num_experts)
    complete = _with_defaults(config)
    return twin.config(complete, num_experts, experts_per_token, dense), planned


def _with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """Add what the base leaves to the defaults of its class, since the twin's may be others."""
    return AutoConfig.for_model(**deepcopy(dict(config))).to_diff_dict() | dict(config)


def _twin_name(name: str, twin: Twin, sparse: Collection[int]) -> str:
    """Return a base tensor's name in the twin: an expanded FFN becomes expert 0, the rest stays."""
    module, _, _ = name.rpartition(".")
    for part, role in _FFN.items():
        if module.endswith(f".mlp.{part}") and layer_of(name) in sparse:
            return twin.expert_names(layer_of(name), 0)[role]
    return name


def _plan_layer(
    graft: TensorFiles, path: str, twin: Twin, dtype: torch.dtype
) -> Iterator[PlannedTensor]:
    layer = layer_of(path)
    weight_in, weight_out = f"{path}.experts.weight_in", f"{path}.experts.weight_out"
    num_new, width, inner = graft.shape(weight_out)  # (N, D, F)
    num_matrix_bytes = num_bytes([inner, width], dtype)
    for number in range(num_new):
        names = twin.expert_names(layer, number + 1)
        for part, half in (("gate", 0), ("up", 1)):
            make = partial(_half, graft, weight_in, number, half, dtype)
            yield PlannedTensor(names[part], num_matrix_bytes, make)
        make = partial(_whole, graft, weight_out, number, dtype)
        yield PlannedTensor(names["down"], num_matrix_bytes, make)
    router = f"{path}.router.weight"
    yield PlannedTensor(
        twin.router_name(layer),
        num_bytes(graft.shape(router), dtype),
        lambda: graft.get(router).to(dtype),
    )
    for constant, sizes in twin.constants(layer, width, num_new + 1).items():
        make = partial(torch.zeros, sizes, dtype=dtype)
        yield PlannedTensor(constant, num_bytes(sizes, dtype), make)


def _stack_experts(
    planned: list[PlannedTensor], twin: Twin, layer: int, num_experts: int
) -> list[PlannedTensor]:
    """Join the experts of a layer where the twin's checkpoints hold them in two tensors."""
    stacked = twin.stacked_names(layer)
    if stacked is None:
        return planned
    by_name = {tensor.name: tensor for tensor in planned}
    inner: list[PlannedTensor] = []
    outer: list[PlannedTensor] = []
    for expert in range(num_experts):
        names = twin.expert_names(layer, expert)
        inner += [by_name.pop(names["gate"]), by_name.pop(names["up"])]
        outer.append(by_name.pop(names["down"]))
    for name, parts in zip(stacked, (inner, outer), strict=True):
        make = partial(_joined, parts, num_experts)
        by_name[name] = PlannedTensor(name, sum(part.num_bytes for part in parts), make)
    return list(by_name.values())


def _joined(parts: list[PlannedTensor], num_experts: int) -> Tensor:
    """Return (E, 2F, D) of every expert's gate and up, or (E, D, F) of every expert's down."""
    return torch.cat([part.make() for part in parts]).unflatten(0, (num_experts, -1))


def _half(graft: TensorFiles, name: str, number: int, half: int, dtype: torch.dtype) -> Tensor:
    return graft.part(name, number).chunk(2)[half].to(dtype)


def _whole(graft: TensorFiles, name: str, number: int, dtype: torch.dtype) -> Tensor:
    return graft.part(name, number).to(dtype)


def _no_standard(reason: str) -> ExportError:
    return ExportError(
        f"The graft has no standard format: {reason}. Set export.format: portable (a folder with "
        "its own modelling file) or none (graft/, which langraft.load reads).",
        reason=reason,
    )
