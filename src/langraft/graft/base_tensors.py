"""A graft beside the files of its base: checked against them, or merged with them.

A tensor of the base that was trained in one's own loop, replaced or resized would be lost without
a word where a graft does not save it: the next ``load`` reads it from the base's files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from langraft.core.errors import ArtifactError, ModelError
from langraft.core.settings.recipe import NEW_ROWS
from langraft.families.load import empty_model, load_model
from langraft.families.meta_model import model_on_meta
from langraft.families.tensors import ReadPart
from langraft.graft.freeze import parameter_groups
from langraft.graft.surgery import graft_info, graft_model

_LOADED_IN = (torch.bfloat16, torch.float16)  # before it was cast to what it is now


def check_base_tensors(model: Any, folder: Path, saved: Collection[str]) -> None:
    """Check that saving a graft's own tensors and a reference to its base loses nothing.

    Args:
        model: A grafted model.
        folder: Of the base it was grafted on, or that was expanded first.
        saved: Names of the parameters that the graft saves, in the model.

    Raises:
        ModelError: when a tensor of the base has another name or shape than in the base's files,
            or other values and the graft does not save it; names them.
    """
    sources = _sources(model, folder)
    expected = {name: shape for name, (shape, _) in sources.items()}
    found = {n: tuple(p.shape) for n, p in parameter_groups(model).get("base", {}).items()}
    if expected != found:
        names = sorted(
            name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
        )
        raise ModelError(
            f"{_listed(names)} not as in the base {folder}, which a graft refers to: added, "
            "removed or of another shape. New tokens get rows by langraft.graft_model(..., "
            "tokenizer=FOLDER) of an extended tokenizer; other changes go into the base before it "
            "is grafted: save that as a base of its own."
        )
    parameters = dict(model.named_parameters())
    changed = [
        name
        for name, (_, read) in sources.items()
        if name not in saved and not _is_equal(parameters[name], read)
    ]
    if changed:
        raise ModelError(
            f"{_listed(changed)} not as in the base {folder}, and the graft would not hold them: "
            "the method freezes them. If you trained or replaced them on purpose, set "
            "model.langraft.is_base_changed = True before saving: then all tensors are saved."
        )


def _listed(names: Iterable[str]) -> str:
    first, *rest = names
    if not rest:
        return f"The tensor {first} is"
    shown = ", ".join([first, *rest][:4])
    more = f" and {len(rest) - 3} more" if len(rest) > 3 else ""
    return f"{len(rest) + 1} tensors ({shown}{more}) are"


def _sources(model: Any, folder: Path) -> Mapping[str, tuple[tuple[int, ...], ReadPart]]:
    """Return, by its name in the grafted model, each base tensor's shape and what reads it.

    A base without weights is grafted in the same way, so that names move as they did.
    """
    try:
        base, read_base = model_on_meta(folder, torch.float32)
    except (ModelError, ArtifactError):  # its files cannot be read by parts
        weights = dict(load_model(folder, torch.float32).named_parameters())
        base: Any = empty_model(folder)
        read_base = {p: weights[name].__getitem__ for name, p in base.named_parameters()}
    for expansion in graft_info(model).expansions:
        graft_model(
            base,
            expansion.method,
            rare_tokens=expansion.rare_tokens,
            free_columns=expansion.free_columns,
            tokenizer=expansion.extension,
            languages=expansion.languages,
            seed=expansion.context.seed,
        )
    return {
        name: (tuple(parameter.shape), read_base[parameter])
        for name, parameter in base.named_parameters()
        if parameter in read_base
    }


@torch.no_grad()
def merge_with_base(model: Any, folder: Path, weight: float) -> None:
    """Move a trained model towards its base, in place: (1 - weight) base + weight model.

    Rows of rare tokens, which are additions to the base's, count ``weight`` times; rows of new
    tokens, which the base lacks, stay as they were trained.

    Args:
        model: Of a method that trains the base's own weights and adds no others to them.
        folder: Of the base it was trained from.
        weight: Of the trained model, 0..1 without the ends.

    Raises:
        ModelError: when the model has weights that the base has no counterpart of, or the weight
            is outside its range.
    """
    if not 0 < weight < 1:
        raise ModelError(
            f"The weight of a merge is {weight:g}; allowed: between 0, the base, and 1, the "
            "trained model."
        )
    groups = parameter_groups(model)
    others = sorted(groups.keys() - {"base", "token_rows", NEW_ROWS})
    sources = _sources(model, folder)
    if others or sources.keys() != groups["base"].keys():
        method = graft_info(model).method.name
        raise ModelError(
            f"{method} has weights that its base has no counterpart of"
            + (f" ({', '.join(others)})" if others else "")
            + ", so there is nothing to interpolate them with. Models of the method full can be "
            "merged with their base."
        )
    for name, (_, read) in sources.items():
        parameter = groups["base"][name]
        base = read(tuple(slice(0, size) for size in parameter.shape)).to(parameter.device)
        merged = torch.lerp(base.float(), parameter.data.float(), weight)
        parameter.data = merged.to(parameter.dtype)
    for additions in groups.get("token_rows", {}).values():
        additions.mul_(weight)


@torch.no_grad()
def _is_equal(parameter: nn.Parameter, read: ReadPart) -> bool:
    """Say whether a parameter has the values of the files in its precision, or in a lower one."""
    stored: Tensor = read(tuple(slice(0, size) for size in parameter.shape)).to(parameter.device)
    precisions = (parameter.dtype, *_LOADED_IN)
    return any(torch.equal(stored.to(p).to(parameter.dtype), parameter) for p in precisions)
