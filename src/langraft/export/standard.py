"""Standard folders: which MoE class of transformers holds a graft exactly, and its tensors there.

Shape suffixes: N = new experts, D = model width, F = FFN width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from langraft.core.errors import ExportError
from langraft.export.tensors import PlannedTensor, TensorFiles, layer_of, num_bytes, plan_base
from langraft.families.family import FAMILIES
from langraft.families.twins import Twin
from langraft.graft.method import AbstractMethod
from langraft.graft.moe_method import AbstractMoEMethod

_FFN = {"gate_proj": "gate", "up_proj": "up", "down_proj": "down"}


def twin_of(config: Mapping[str, Any], method: AbstractMethod) -> Twin | None:
    """Return the standard MoE class that holds a grafted base exactly; None without experts.

    Args:
        config: Of the base.
        method: How it is grafted.

    Raises:
        ExportError: when there is none, with the reason.
    """
    if not isinstance(method, AbstractMoEMethod):
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
    if method.attention_rank:
        raise _no_standard("no standard class has attention adapters")
    if not method.original_competes:
        raise _no_standard(
            f"no standard class has a gate between the original FFN and a branch of experts, "
            f"which {method.name} has"
        )
    counts = set(method.experts_by_layer(config["num_hidden_layers"]))
    if method.allocation == "probe_layers":
        counts.add(0)
    if len(counts - {0}) > 1 or method.allocation == "probe":
        raise _no_standard("no standard class has layers with different numbers of experts")
    if 0 in counts and not family.twin.has_dense_layers:
        raise _no_standard(f"{family.twin.architecture} wants experts in every layer")
    return family.twin


def plan_standard(
    twin: Twin,
    config: Mapping[str, Any],
    method: AbstractMoEMethod,
    base: TensorFiles,
    graft: TensorFiles,
) -> tuple[dict[str, Any], list[PlannedTensor]]:
    """Plan a folder of the twin's class.

    Args:
        twin: From ``twin_of``.
        config: Of the base.
        method: How it was grafted.
        base: Weights of the base.
        graft: Tensors of the graft's small form.

    Returns:
        The twin's config and all its tensors; experts unstacked, as released checkpoints are.
    """
    counts = method.experts_by_layer(config["num_hidden_layers"])
    sparse = {layer for layer, count in enumerate(counts) if count}
    dense = tuple(layer for layer, count in enumerate(counts) if not count)
    planned = plan_base(base, graft, lambda name: _twin_name(name, twin, sparse))
    dtype = base.dtype(next(iter(base)))
    for name in graft:
        if name.endswith(".experts.weight_in"):
            planned += _plan_layer(graft, name.removesuffix(".experts.weight_in"), twin, dtype)
    return twin.config(config, max(counts) + 1, method.experts_per_token, dense), planned


def _twin_name(name: str, twin: Twin, sparse: set[int]) -> str:
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
    for constant, sizes in twin.constants(layer, width).items():
        make = partial(torch.zeros, sizes, dtype=dtype)
        yield PlannedTensor(constant, num_bytes(sizes, dtype), make)


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
