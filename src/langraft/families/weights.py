"""Check a model's weight files before work is spent on them."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming

from langraft.core.errors import ModelError
from langraft.families.stored_names import tensors_of_model
from langraft.families.tensors import TensorFiles


def check_weight_files(folder: Path, model: PreTrainedModel, *, is_exported: bool) -> None:
    """Refuse weight files that cannot be loaded, or written again by an export; reads headers only.

    Args:
        folder: Of the model.
        model: Built from its config; may be on the meta device.
        is_exported: Whether its tensors will be written again.

    Raises:
        ModelError: when there are none in safetensors, or they lack a tensor of the model.
        ArtifactError: when a file is missing or damaged, or a tensor has a dtype that langraft does
            not read.
    """
    changes = get_model_conversion_mapping(model)
    if not is_exported and not all(isinstance(change, WeightRenaming) for change in changes):
        TensorFiles.of_folder(folder)  # transformers computes tensors of the model from others
        return
    tensors = tensors_of_model(folder, model)
    if is_exported:
        for name in tensors:
            tensors.dtype(name)


def check_values(folder: Path, model: PreTrainedModel) -> None:
    """Read every tensor of a model once and refuse what no training can start from.

    Args:
        folder: Of the model.
        model: Built from its config; may be on the meta device.

    Raises:
        ModelError: when a value is NaN or infinite, or a matrix that the config ties is stored
            twice with different values.
    """
    files = TensorFiles.of_folder(folder)
    check_finite(files)
    aliases: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(parameter), []).append(name)
    for names in aliases.values():
        stored = [name for name in names if name in files]
        if len(stored) > 1 and not torch.equal(files.get(stored[0]), files.get(stored[1])):
            raise ModelError(
                f"{folder} stores {stored[0]} and {stored[1]} with other values, and its config "
                "says that they are one (tie_word_embeddings). Set that to false in config.json."
            )


def check_finite(files: TensorFiles) -> None:
    """Read tensors one by one and refuse NaN and infinity.

    Raises:
        ModelError: names the first tensor that holds one.
    """
    for name in files:
        tensor = files.get(name)
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ModelError(
                f"{files.path(name)}: {name} holds NaN or infinite values. Nothing can be trained "
                "on them; download or convert the model again."
            )
