"""Find a model's tensors in its files, whatever names the files use.

transformers loads checkpoints that leave out the prefix of the model's trunk (a GPT-2's
``h.0.mlp.c_fc.weight``), that hold a tied matrix under either name or both, and that hold buffers
which the model computes itself. Here each tensor of the model has one name: the model's own.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightRenaming

from langraft.core.errors import ModelError
from langraft.families.tensors import TensorFiles


def tensors_of_model(folder: Path, model: PreTrainedModel) -> TensorFiles:
    """Return the weights of a folder under the names that the model has for them.

    What the model has no parameter or buffer for is left out: transformers ignores it too.

    Args:
        folder: Of the model.
        model: Built from its config; may be on the meta device.

    Raises:
        ModelError: when the folder has no safetensors, or a tensor of the model is not in them.
        ArtifactError: when a file is missing or damaged.
    """
    files = TensorFiles.of_folder(folder)
    names = stored_names(folder, model, files)
    return TensorFiles({name: files.stored[stored] for name, stored in names.items()})


def stored_names(folder: Path, model: PreTrainedModel, files: TensorFiles) -> dict[str, str]:
    """Return the name in the files of every parameter and stored buffer of a model.

    Args:
        folder: Of the model.
        model: Built from its config; may be on the meta device.
        files: Its weights.

    Returns:
        By the model's name; of a tied matrix by its first.

    Raises:
        ModelError: when a tensor is not stored, or in another shape.
    """
    names: dict[Tensor, list[str]] = {}  # a tied matrix has several and is one parameter
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    computed = {name for name, _ in model.named_non_persistent_buffers()}
    for name, buffer in model.named_buffers():
        if name not in computed:
            names.setdefault(buffer, []).append(name)
    stored_as = {name: stored for stored, name in _renamed(model, files).items()}
    prefix = f"{model.base_model_prefix}."
    found: dict[str, str] = {}
    for tensor, aliases in names.items():
        tried = [each for name in aliases for each in (name, name.removeprefix(prefix))]
        stored = [stored_as[each] for each in tried if each in stored_as]
        fitting = [each for each in stored if tuple(files.shape(each)) == tuple(tensor.shape)]
        if not fitting:
            raise ModelError(
                f"{folder} does not store {aliases[0]} {tuple(tensor.shape)} as the model has it"
                + "".join(f"; {each} has the shape {tuple(files.shape(each))}" for each in stored)
                + ". The folder is incomplete, or of another version of the model."
            )
        found[aliases[0]] = fitting[0]
    return found


def _renamed(model: PreTrainedModel, files: TensorFiles) -> dict[str, str]:
    """Return what transformers renames each stored tensor to, such as Pythia's ``embed_out``."""
    changes = [c for c in get_model_conversion_mapping(model) if isinstance(c, WeightRenaming)]
    renamed = {stored: stored for stored in files}
    for change in changes:
        renamed = {s: change.rename_source_key(name)[0] for s, name in renamed.items()}
    return renamed
