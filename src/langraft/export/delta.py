"""Add the difference between an instruct model and its base to a graft.

DeltaMoE (arXiv:2605.18083): after post-pretraining add ``instruct - base`` to every expert and
every shared weight, and the grafted model follows instructions. Shared weights and expert 0 plus
the difference are the instruct model itself, so the result is a graft on the instruct model as
its base, whose new experts are moved by the difference of the FFN they were copied from. Routers,
gates, adapters and token rows have no counterpart in the base and stay.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from torch import Tensor

from langraft.core.errors import ModelError
from langraft.core.files import write_json
from langraft.core.ownership import replaced_folder
from langraft.export.tensors import names_by_expansion
from langraft.families.load import check_base, empty_model, resolve_base
from langraft.families.sites import FFNSite, find_ffn_sites, join_rows
from langraft.families.stored_names import tensors_of_model
from langraft.families.tensors import TensorFiles, save_tensors
from langraft.graft.description import (
    GRAFT_JSON,
    GRAFT_TOKENIZER,
    base_of,
    base_reference,
    check_fingerprint,
    fingerprint_base,
    methods_of,
    read_graft,
)
from langraft.graft.store import GRAFT_TENSORS, empty_graft
from langraft.tokenizers.extension import copy_tokenizer, is_extended


def add_instruct_delta(graft: Path | str, instruct: Path | str, out: Path | str) -> int:
    """Write a graft that follows instructions like the instruct model.

    Args:
        graft: What ``langraft.save`` wrote.
        instruct: Folder or hub name of the instruct model that was made from the graft's base.
        out: Folder to make, or to replace where langraft made it.

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
    if any(method.trains_matrices for method in methods_of(graft)):
        raise ModelError(
            f"{graft} trained matrices of the base's own, which the difference would have "
            "to be added to as well. Graft with a method that freezes the base."
        )
    base_folder = base_of(graft)
    check_fingerprint(graft, described, base_folder)
    check_base(instruct_folder)
    empty_graft(graft, base_folder)
    empty = empty_model(base_folder)
    base = tensors_of_model(base_folder, empty)
    target = tensors_of_model(instruct_folder, empty_model(instruct_folder))
    _refuse_other_shapes(base, target, base_folder, instruct_folder)
    stored = TensorFiles.of_file(graft / GRAFT_TENSORS)
    tensors = {name: stored.get(name) for name in stored}
    num_moved = 0
    for site in find_ffn_sites(empty):
        num_moved += _add_difference(tensors, site, base, target)
    with replaced_folder(out, "a graft", inputs=(graft, base_folder, instruct_folder)) as folder:
        save_tensors(folder / GRAFT_TENSORS, tensors)
        described["base"] = {
            "reference": base_reference(out, str(instruct)),
            "fingerprint": fingerprint_base(instruct_folder),
        }
        if is_extended(graft / GRAFT_TOKENIZER):
            (folder / GRAFT_TOKENIZER).mkdir()
            copy_tokenizer(graft / GRAFT_TOKENIZER, folder / GRAFT_TOKENIZER)
            for path in instruct_folder.glob("chat_template*.jinja"):
                shutil.copy(path, folder / GRAFT_TOKENIZER / path.name)
        write_json(folder / GRAFT_JSON, described)
    return num_moved


def _add_difference(
    tensors: dict[str, Tensor], site: FFNSite, base: TensorFiles, target: TensorFiles
) -> int:
    """Add ``instruct - base`` of an FFN to its experts of all expansions, in place.

    Returns:
        How many experts it has.
    """
    num_experts = 0
    for part, ffn_tensors in site.expert_tensors().items():
        stacks = [tensors[n] for n in names_by_expansion(tensors, f"{site.path}.experts.{part}")]
        if stacks:
            difference = join_rows(
                ffn_tensors,
                lambda each: (
                    target.get(f"{site.path}.{each.name}").float()
                    - base.get(f"{site.path}.{each.name}").float()
                ),
            )
            for stack in stacks:
                stack += difference
            num_experts = sum(map(len, stacks))
    return num_experts


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
