"""Portable folders: what no standard class holds, with the modelling file that does.

The folder loads with ``trust_remote_code=True`` where langraft is not installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from langraft.export.tensors import OURS, PlannedTensor, TensorFiles, layer_of, num_bytes, plan_base
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
    method: AbstractMoEMethod,
    base: TensorFiles,
    graft: TensorFiles,
) -> tuple[dict[str, Any], list[PlannedTensor]]:
    """Plan a folder that keeps the base's own class.

    Args:
        empty: The base; may be without weights.
        config: Of the base.
        method: How it was grafted.
        base: Weights of the base.
        graft: Tensors of the graft's small form.

    Returns:
        The folder's config and all its tensors; what was grafted keeps its names and precision.
    """
    sites = {s.path: s for s in find_ffn_sites(empty) if f"{s.path}.router.weight" in graft}
    adapted = _adapted_projections(graft, {s.layer: s.path for s in sites.values()})
    moved = (*sites, *adapted)
    planned = plan_base(base, graft, lambda name: _portable_name(name, moved))
    for name in graft:
        if any(part in name for part in OURS if part != ".deltas."):
            size = num_bytes(graft.shape(name), graft.dtype(name))
            planned.append(PlannedTensor(name, size, partial(graft.get, name)))
    module = MODELING_FILE.removesuffix(".py")
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
        "adapted_projections": adapted,
    }, planned


def _adapted_projections(
    graft: TensorFiles, ffn_of_layer: Mapping[int, str]
) -> dict[str, dict[str, Any]]:
    """Return, by path, the rank of each projection's adapter and the FFN below that scales it."""
    found: dict[str, dict[str, Any]] = {}
    for name in graft:
        if name.endswith(".adapter_down.weight"):
            path = name.removesuffix(".adapter_down.weight")
            is_in_layer = any(part.isdigit() for part in path.split("."))
            below = [n for n in ffn_of_layer if not is_in_layer or n < layer_of(name)]
            found[path] = {"rank": graft.shape(name)[0], "ffn": ffn_of_layer[max(below)]}
    return found


def _portable_name(name: str, paths: Iterable[str]) -> str:
    """Return a base tensor's name in the folder: what was wrapped moves one level down."""
    for path in paths:
        if name.startswith(f"{path}."):
            return f"{path}.base.{name.removeprefix(f'{path}.')}"
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
