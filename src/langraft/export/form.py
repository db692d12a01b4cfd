"""The form of an export, and what its user must know of serving it, before there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from langraft.core.base_files import stored_dtype
from langraft.core.errors import ExportError
from langraft.core.settings.recipe import Tied
from langraft.export.portable.folder import portable_caveat
from langraft.export.standard import find_twin
from langraft.export.tensors import num_bytes
from langraft.families.twin import Twin
from langraft.graft.method import AbstractMethod, new_experts_by_layer

Form = Literal["auto", "standard", "portable"]


def choose_form(
    config: Mapping[str, Any], methods: Sequence[AbstractMethod], wanted: Form
) -> tuple[Twin | None, str]:
    """Return the standard class to write, or None and the caveat of a portable folder.

    Raises:
        ExportError: when a standard class is wanted and none holds the model exactly.
    """
    if wanted == "portable" and methods[-1].has_experts:
        return None, portable_caveat(methods, config)
    try:
        return find_twin(config, methods), ""
    except ExportError as error:
        if wanted == "standard":
            raise
        return None, f"{portable_caveat(methods, config)} Why no standard class: {error.reason}."


def serving_notes(
    config: Mapping[str, Any],
    methods: Sequence[AbstractMethod],
    wanted: Form,
    tied: Tied = "separate",
) -> list[str]:
    """Return what a user of the folder will have to know, before there is one.

    Args:
        config: Of the base.
        methods: The method of each expansion.
        wanted: As ``export_model`` takes it.
        tied: Likewise.
    """
    twin, caveat = choose_form(config, methods, wanted)
    if twin is None:
        return [caveat] if caveat else []
    num_experts = 1 + max(new_experts_by_layer(methods, config["num_hidden_layers"]))
    notes = twin.notes_for(config, num_experts)
    if config.get("tie_word_embeddings") and tied == "separate" and not twin.must_tie:
        dtype = getattr(torch, stored_dtype(config))
        notes.append(untied_note([config["vocab_size"], config["hidden_size"]], dtype))
    return notes


def untied_note(shape: list[int], dtype: torch.dtype) -> str:
    """Return what an output matrix of its own costs a base that ties it."""
    return (
        "The base ties its output matrix to the embedding; the export has it as a tensor of its "
        f"own ({num_bytes(shape, dtype) / 1e6:,.1f} MB), since some servers never tie. "
        "`export.tied: keep` leaves it out."
    )
