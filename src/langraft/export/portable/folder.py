"""Portable folders: what no standard class holds, with the modelling file that does.

The folder loads with ``trust_remote_code=True`` where langraft is not installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from langraft.export.tensors import (
    IN_MATRICES,
    OURS,
    PlannedTensor,
    TensorFiles,
    by_expansion,
    num_bytes,
    num_new_rows,
    plan_base,
    without_wrapper,
)
from langraft.families.sites import find_ffn_sites
from langraft.graft.moe_method import AbstractMoEMethod

MODELING_FILE = "modeling_grafted.py"
CAVEAT = (
    "The folder carries its own modelling file: transformers loads it with "
    "trust_remote_code=True; vLLM, SGLang and llama.cpp cannot."
)


def plan_portable(
    empty: PreTrainedModel,
    config: Mapping[str, Any],
    methods: Sequence[AbstractMoEMethod],
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
        The folder's config and all its tensors; what was grafted keeps its names and precision.
    """
    found_sites = find_ffn_sites(empty)
    sites = {s.path: s for s in found_sites if f"{s.path}.router.weight" in graft}
    adapted, path_of = _adapted_projections(graft, methods, [s.path for s in found_sites])
    moved = (*sites, *sorted(adapted, key=len))
    planned = plan_base(base, graft, lambda name: _portable_name(name, moved))
    for name in graft:
        if any(part in name for part in OURS if part not in IN_MATRICES):
            path, separator, part = name.partition(".adapter_")
            portable = path_of.get(path, path) + separator + part
            is_output = part == "up.weight" and not any(map(str.isdigit, path.split(".")))
            # The adapter of the output matrix does nothing for new tokens.
            num_new = num_new_rows(graft) if is_output else 0
            shape = graft.shape(name)
            size = num_bytes([shape[0] + num_new, *shape[1:]], graft.dtype(name))
            planned.append(PlannedTensor(portable, size, partial(_padded, graft, name, num_new)))
    module = MODELING_FILE.removesuffix(".py")
    method = methods[-1]
    settings = method.model_dump()
    layers = {
        path: {
            "shapes": {
                name.rpartition(".")[2]: graft.shape(name)
                for name in graft
                if name.startswith(f"{path}.experts.")
            },
            "experts_per_token": method.experts_per_token,
            "is_gated": site.kind != "plain",
            "takes_residual": site.takes_residual,
            "gate": settings.get("gate", ""),
            "gate_opening": settings.get("gate_opening", 1.0),
        }
        for path, site in sites.items()
    }
    return {
        **config,
        "architectures": ["GraftedForCausalLM"],
        "model_type": f"grafted_{config['model_type']}",
        "auto_map": {
            "AutoConfig": f"{module}.GraftedConfig",
            "AutoModelForCausalLM": f"{module}.GraftedForCausalLM",
        },
        "grafted_layers": layers,
        "adapted_projections": {path: adapted[path] for path in sorted(adapted, key=len)},
    }, planned


def _adapted_projections(
    graft: TensorFiles, methods: Sequence[AbstractMoEMethod], ffns: Sequence[str]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Find the adapters of all expansions; those of a later one stand around those before.

    Args:
        graft: Tensors of the graft.
        methods: That of each expansion.
        ffns: Path of each layer's FFN.

    Returns:
        By path in the folder, the adapter's rank and the FFN and range of its experts that scale
        it; and, by path in the graft, the path in the folder, where no token rows stand between.
    """
    counts = [method.experts_by_layer(len(ffns)) for method in methods]
    suffix = ".adapter_up.weight"
    adapted: dict[str, dict[str, Any]] = {}
    path_of: dict[str, str] = {}
    for path in {without_wrapper(n.removesuffix(suffix)) for n in graft if n.endswith(suffix)}:
        layer = next((int(part) for part in path.split(".") if part.isdigit()), len(ffns))
        is_output = layer == len(ffns)
        adapting = [
            number
            for number, method in enumerate(methods)
            if (method.output_rank if is_output else method.attention_rank)
            and any(counts[number][:layer])
        ]
        stored = by_expansion(graft, path + suffix)
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


def _padded(graft: TensorFiles, name: str, num_new: int) -> Tensor:
    """Return a tensor with so many rows of zeros after its own."""
    tensor = graft.get(name)
    return nn.functional.pad(tensor, (0, 0, 0, num_new)) if num_new else tensor


def _portable_name(name: str, paths: Iterable[str]) -> str:
    """Return a base tensor's name in the folder: what was wrapped moves down."""
    for path in paths:
        if name.startswith(f"{path}."):
            name = f"{path}.base.{name.removeprefix(f'{path}.')}"
    return name


def write_modeling_file(folder: Path, base: PreTrainedModel) -> None:
    """Write the modelling file with the base's own classes in it."""
    file = resources.files("langraft.export.portable").joinpath(MODELING_FILE)
    text = file.read_text(encoding="utf-8")
    for ours, theirs in (
        ("LlamaConfig", type(base.config).__name__),
        ("LlamaForCausalLM", type(base).__name__),
        ("grafted_llama", f"grafted_{base.config.model_type}"),
    ):
        text = text.replace(ours, theirs)
    (folder / MODELING_FILE).write_text(text, encoding="utf-8")
