"""Export what no standard class holds: a folder with a modelling file of its own.

transformers loads it with ``trust_remote_code=True`` where langraft is not installed.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from langraft.export.tensors import (
    PlannedTensor,
    is_of_added_module,
    names_by_expansion,
    num_bytes,
    num_new_rows,
    plan_base,
    unwrapped_name,
)
from langraft.families.sites import FFNSite, FFNTensor, find_ffn_sites
from langraft.families.tensors import TensorFiles
from langraft.graft.method import AbstractMethod
from langraft.graft.moe import reference

MODELING_FILE = "modeling_grafted.py"
_IMPORTED = re.compile(r"from langraft\.graft\.moe\.reference import \([^)]*\)\n")
_CAVEAT = (
    "The folder carries its own modelling file: transformers loads it with trust_remote_code=True"
)
_SERVED = (
    ", vLLM serves it with --trust-remote-code; llama.cpp cannot. SGLang was not tried: by the "
    "source of 0.5.23 it falls back to transformers' classes, with --trust-remote-code too, but "
    "not for GLM-4, OLMo 2 and 3 and Phi-3, whose way to split attention it does not know."
)
_OWN_OUTPUT = (
    "; llama.cpp cannot. Nor can vLLM and SGLang, which bring their own output matrix and know no "
    "adapter of it."
)
_ONE_DEVICE = (
    " Adapters of attention fit on one device alone: leave --tensor-parallel-size at 1, since vLLM "
    "and SGLang would split both matrices of an adapter as they split its projection."
)
_UNSCALED = (
    " In a portable folder vLLM and SGLang leave out logits_scaling: the first choice stays, its "
    "probability does not. Multiply the temperature by {:g}."
)


def portable_caveat(
    methods: Sequence[AbstractMethod], config: Mapping[str, Any] | None = None
) -> str:
    """Return what a user of a portable folder must know.

    Args:
        methods: How the base was grafted: the method of each expansion.
        config: Of the base, where it is known.
    """
    if any(method.has_adapter(is_output=True) for method in methods):
        return _CAVEAT + _OWN_OUTPUT
    caveat = _CAVEAT + _SERVED
    if any(method.has_adapter(is_output=False) for method in methods):
        caveat += _ONE_DEVICE
    scaling = (config or {}).get("logits_scaling") or 1.0
    return caveat + (_UNSCALED.format(scaling) if scaling != 1.0 else "")


def plan_portable(
    empty: PreTrainedModel,
    config: Mapping[str, Any],
    methods: Sequence[AbstractMethod],
    base: TensorFiles,
    graft: TensorFiles,
) -> tuple[dict[str, Any], list[PlannedTensor]]:
    """Plan a folder that keeps the base's own class.

    Args:
        empty: The base; may be without weights.
        config: Of the base.
        methods: How it was grafted: that of each expansion.
        base: Weights of the base.
        graft: Tensors of the graft's small form.

    Returns:
        The folder's config and all its tensors, in the precision of the base.
    """
    ffns = find_ffn_sites(empty)
    sites = [site for site in ffns if f"{site.path}.router.weight" in graft]
    adapted, path_of = _adapted_projections(graft, methods, [site.path for site in ffns])
    adapted_paths = sorted(adapted, key=len)
    wrapped = [*(site.path for site in sites), *adapted_paths]
    of_base = plan_base(base, graft, lambda name: name)
    planned = [replace(each, name=_portable_name(each.name, wrapped)) for each in of_base]
    dtype = base.dtype(next(iter(base)))
    for site in sites:
        planned += _plan_experts(graft, site, of_base, dtype)
    for name in graft:
        if is_of_added_module(name) and ".experts." not in name:
            planned.append(_plan_added(graft, name, path_of, dtype))
    module = MODELING_FILE.removesuffix(".py")
    return {
        **config,
        "architectures": ["GraftedForCausalLM"],
        "model_type": f"grafted_{config['model_type']}",
        "auto_map": {
            "AutoConfig": f"{module}.GraftedConfig",
            "AutoModel": f"{module}.GraftedModel",
            "AutoModelForCausalLM": f"{module}.GraftedForCausalLM",
        },
        "grafted_layers": {site.path: _layer_config(graft, site, methods[-1]) for site in sites},
        "adapted_projections": {path: adapted[path] for path in adapted_paths},
    }, planned


def _layer_config(graft: TensorFiles, site: FFNSite, method: AbstractMethod) -> dict[str, Any]:
    """Return what the modelling file must know of a layer with experts."""
    settings = method.model_dump()
    return {
        "width": site.model_width,
        "num_experts": graft.shape(f"{site.path}.experts.weight_out")[0],
        "experts_per_token": method.top_k,
        "takes_residual": site.takes_residual,
        "gate": settings.get("gate", ""),
        "gate_opening": settings.get("gate_opening", 1.0),
    }


def _plan_experts(
    graft: TensorFiles, site: FFNSite, of_base: Iterable[PlannedTensor], dtype: torch.dtype
) -> Iterator[PlannedTensor]:
    """Plan the new experts of a layer: modules as its FFN, whatever that has besides matrices."""
    places: dict[str, tuple[str, int, FFNTensor]] = {}
    for key, tensors in site.expert_tensors().items():
        row = 0
        for tensor in tensors:
            places[tensor.name] = f"{site.path}.experts.{key}", row, tensor
            row += tensor.num_rows
    stacks = graft.shape(f"{site.path}.experts.weight_out")
    for original in of_base:
        name = original.name.removeprefix(f"{site.path}.")
        if name == original.name:
            continue
        for number in range(stacks[0]):
            expert = f"{site.path}.experts.{number}.{name}"
            if name in places:
                make = partial(_expert, graft, number, *places[name], dtype)
                yield PlannedTensor(expert, original.num_bytes, make)
            else:  # a weight of the activation
                yield original.copied_as(expert)


def _expert(
    graft: TensorFiles, number: int, stack: str, row: int, tensor: FFNTensor, dtype: torch.dtype
) -> Tensor:
    """Read what a new expert has in the place of a tensor of the FFN."""
    others = (slice(0, size) for size in graft.shape(stack)[2:])
    part = (slice(number, number + 1), slice(row, row + tensor.num_rows), *others)
    found = graft.get_part(stack, part)[0].to(dtype)
    return found.T if tensor.is_transposed else found


def _plan_added(
    graft: TensorFiles, name: str, path_of: Mapping[str, str], dtype: torch.dtype
) -> PlannedTensor:
    """Plan a tensor of a router, a gate or an adapter."""
    path, separator, part = name.partition(".adapter_")
    is_output = part == "up.weight" and not any(map(str.isdigit, path.split(".")))
    num_new = num_new_rows(graft) if is_output else 0  # new tokens get zeros of the adapter
    num_rows, *others = graft.shape(name)
    size = num_bytes([num_rows + num_new, *others], dtype)
    portable = path_of.get(path, path) + separator + part
    return PlannedTensor(portable, size, partial(_padded, graft, name, num_new, dtype))


def _adapted_projections(
    graft: TensorFiles, methods: Sequence[AbstractMethod], ffns: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Find the adapters of all expansions; a later expansion's wraps those before.

    Args:
        graft: Tensors of the graft.
        methods: That of each expansion.
        ffns: Path of each layer's FFN.

    Returns:
        The config of each adapter by its path in the folder: its rank, and the FFN and the range
        of that FFN's experts by whose weight it is scaled. And its path in the folder by its path
        in the graft, where token rows may be wrapped in between.
    """
    counts = [method.experts_by_layer(len(ffns)) for method in methods]
    suffix = ".adapter_up.weight"
    adapted: dict[str, dict[str, Any]] = {}
    path_of: dict[str, str] = {}
    paths = {unwrapped_name(n.removesuffix(suffix)) for n in graft if n.endswith(suffix)}
    for path in sorted(paths):
        layer = next((int(part) for part in path.split(".") if part.isdigit()), len(ffns))
        is_output = layer == len(ffns)
        adapting = [
            number
            for number, method in enumerate(methods)
            if method.has_adapter(is_output=is_output) and any(counts[number][:layer])
        ]
        stored = names_by_expansion(graft, path + suffix)
        for depth, (number, name) in enumerate(zip(adapting, stored, strict=True)):
            below = max(at for at in range(layer) if counts[number][at])
            down = f"{name.removesuffix(suffix)}.adapter_down.weight"
            first = 1 if methods[number].original_competes else 0
            first += sum(of_expansion[below] for of_expansion in counts[:number])
            portable = path + ".base" * (len(stored) - 1 - depth)
            path_of[name.removesuffix(suffix)] = portable
            adapted[portable] = {
                "rank": graft.shape(name)[1] if down in graft else None,
                "ffn": ffns[below],
                "experts": [first, first + counts[number][below]],
            }
    return adapted, path_of


def _padded(graft: TensorFiles, name: str, num_new: int, dtype: torch.dtype) -> Tensor:
    """Return a tensor with rows of zeros appended."""
    tensor = graft.get(name).to(dtype)
    return nn.functional.pad(tensor, (0, 0, 0, num_new)) if num_new else tensor


def _portable_name(name: str, paths: Iterable[str]) -> str:
    """Return a base tensor's name in the folder: in a wrapped module it gets a ``.base``."""
    for path in paths:
        if name.startswith(f"{path}."):
            name = f"{path}.base.{name.removeprefix(f'{path}.')}"
    return name


def write_modeling_file(folder: Path, base: PreTrainedModel) -> None:
    """Write the modelling file with the base's own classes and the reference forward pass in it."""
    file = resources.files("langraft.export.portable").joinpath(MODELING_FILE)
    _, _, forward = inspect.getsource(reference).partition("from torch import Tensor\n\n")
    text = _IMPORTED.sub(lambda _: forward, file.read_text(encoding="utf-8"))
    for ours, theirs in (
        ("LlamaConfig", type(base.config).__name__),
        ("LlamaForCausalLM", type(base).__name__),
        ("LlamaModel", type(base.base_model).__name__),
        ("grafted_llama", f"grafted_{base.config.model_type}"),
    ):
        text = text.replace(ours, theirs)
    (folder / MODELING_FILE).write_text(text, encoding="utf-8")
