"""Instructions without alignment data: the difference of an instruct model, added to a graft.

DeltaMoE (arXiv:2605.18083): after post-pretraining add ``instruct - base`` to every expert and
every shared weight, and the grafted model follows instructions. Shared weights and expert 0 plus
the difference are the instruct model itself, so the result is a graft on the instruct model as
its base, whose new experts are moved by the difference of the FFN they were copied from. Routers,
gates, adapters and token rows have no counterpart in the base and stay.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers.pytorch_utils import Conv1D

from langraft.core.artifacts import explain_disk_errors, write_json
from langraft.core.errors import ModelError
from langraft.corpus.vocabulary.extension import copy_tokenizer, is_extended
from langraft.export.tensors import TensorFiles, without_wrapper
from langraft.families.load import check_base, empty_model, resolve_base
from langraft.families.sites import FFNSite, find_ffn_sites
from langraft.graft.store import (
    GRAFT_JSON,
    GRAFT_TENSORS,
    GRAFT_TOKENIZER,
    base_of,
    fingerprint_base,
    read_graft,
    reference_base,
    refuse_other_base,
)


def add_instruct_delta(graft: Path | str, instruct: Path | str, out: Path | str) -> int:
    """Write a graft that follows instructions as the instruct model does.

    Args:
        graft: What ``langraft.save`` wrote.
        instruct: Folder or hub name of the instruct model that was made from the graft's base.
        out: Folder to write; made when missing.

    Returns:
        How many experts were moved.

    Raises:
        ModelError: when the instruct model's tensors differ from the base's in name or shape, or
            the graft trained the base itself.
        ArtifactError: when the graft is damaged or the disk is full.
    """
    graft, out, instruct_folder = Path(graft), Path(out), resolve_base(str(instruct))
    described = read_graft(graft)
    if described["is_base_changed"]:
        raise ModelError(
            f"{graft} trained the base's own weights, so base and difference no longer add up to "
            "the instruct model. Graft with a method that freezes the base."
        )
    base_folder = base_of(graft)
    refuse_other_base(graft, described, base_folder)
    check_base(instruct_folder)
    with ExitStack() as stack, explain_disk_errors(out):
        base = TensorFiles.of_folder(base_folder, stack)
        target = TensorFiles.of_folder(instruct_folder, stack)
        _refuse_other_shapes(base, target, base_folder, instruct_folder)
        found = TensorFiles([graft / GRAFT_TENSORS], stack)
        tensors = {name: found.get(name) for name in found}
        num_moved = 0
        for site in find_ffn_sites(empty_model(base_folder)):
            num_moved += sum(map(len, _stacks(tensors, site, "weight_in")))
            for kind in ("weight", "bias"):
                for side, names in (("in", _inner(site)), ("out", [site.down])):
                    for stack_of_experts in _stacks(tensors, site, f"{kind}_{side}"):
                        stack_of_experts += _difference(base, target, site, names, kind)
        out.mkdir(parents=True, exist_ok=True)
        partial = out / f".{GRAFT_TENSORS}.partial"
        save_file(tensors, partial, metadata={"format": "pt"})
        partial.replace(out / GRAFT_TENSORS)
        described["base"] = {
            "reference": reference_base(out, str(instruct)),
            "fingerprint": fingerprint_base(instruct_folder),
        }
        if is_extended(graft / GRAFT_TOKENIZER):
            (out / GRAFT_TOKENIZER).mkdir(exist_ok=True)
            copy_tokenizer(graft / GRAFT_TOKENIZER, out / GRAFT_TOKENIZER)
            for path in instruct_folder.glob("chat_template*.jinja"):
                shutil.copy(path, out / GRAFT_TOKENIZER / path.name)
        write_json(out / GRAFT_JSON, described)
    return num_moved


def _stacks(tensors: Mapping[str, Tensor], site: FFNSite, part: str) -> list[Tensor]:
    """Return a part of the experts of a site, (N, ...), of each expansion."""
    name = f"{site.path}.experts.{part}"
    return [tensor for stored, tensor in tensors.items() if without_wrapper(stored) == name]


def _inner(site: FFNSite) -> list[str]:
    return [site.gate, site.up] if site.kind == "gated" else [site.up]


def _difference(
    base: TensorFiles, target: TensorFiles, site: FFNSite, names: list[str], kind: str
) -> Tensor:
    """Return ``instruct - base`` of one side of an FFN, shaped as one expert's."""
    parts: list[Tensor] = []
    for name in names:
        key = f"{site.path}.{name}.{kind}"
        part = target.get(key).float() - base.get(key).float()
        is_transposed = kind == "weight" and isinstance(site.module.get_submodule(name), Conv1D)
        parts.append(part.T if is_transposed else part)
    return torch.cat(parts).contiguous()


def _refuse_other_shapes(
    base: TensorFiles, target: TensorFiles, base_folder: Path, instruct_folder: Path
) -> None:
    shapes, others = ({name: files.shape(name) for name in files} for files in (base, target))
    differing = [
        name for name in shapes.keys() | others.keys() if shapes.get(name) != others.get(name)
    ]
    if differing:
        name = min(differing)
        raise ModelError(
            f"{instruct_folder} was not made from {base_folder}: {len(differing)} tensors differ "
            f"in name or shape, for example {name} ({shapes.get(name)} in the base, "
            f"{others.get(name)} there). Give the instruct model of the same base."
        )
