"""What ``save_pretrained`` writes of a grafted model: a checkpoint, from which training resumes.

A checkpoint of transformers' Trainer is read into the model that trains, so names of grafted
modules are in their place. As a model by itself it would be another one: a base whose FFNs are not
found by their names begins with random ones. So its config says what it is, in the model's type and
in the range that random weights are drawn from, and ``from_pretrained`` refuses it: of the auto
classes for the one, of the model's own class for the other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from langraft.core.errors import ModelError
from langraft.core.files import read_json, write_json

_REFUSAL = (
    "langraft graft (a checkpoint: graft the base and load_state_dict; for a model to load write "
    "it by langraft.save or langraft.export_model)"
)
_REFUSED = {"model_type": _REFUSAL, "initializer_range": _REFUSAL}


def save_by_transformers(model: Any, save_directory: Path | str, **settings: Any) -> None:
    """Write a grafted model as ``PreTrainedModel.save_pretrained`` does, to resume from.

    A graft that is a plain model of its class (LLaMA-Pro, full training) is written as one.

    Args:
        model: A grafted model.
        save_directory: Where to write.
        settings: The other arguments of ``save_pretrained``.

    Raises:
        ModelError: when it is to be pushed to a hub, where nobody could load it.
    """
    is_plain = is_plain_model(model)
    if settings.get("push_to_hub") and not is_plain:
        raise ModelError(
            "save_pretrained writes a graft as a checkpoint to resume from, which nobody could "
            "load from a hub. Push what langraft.export_model writes."
        )
    type(model).save_pretrained(model, save_directory, **settings)
    path = Path(save_directory) / "config.json"
    if not is_plain and settings.get("is_main_process", True):
        write_json(path, read_json(path, dict[str, Any]) | _REFUSED)


def is_plain_model(model: Any) -> bool:
    """Say whether a model has the parameters of its class and config, and no others."""
    with torch.device("meta"):
        plain = type(model)(model.config)
    names = dict(plain.named_parameters(remove_duplicate=False))
    return names.keys() == dict(model.named_parameters(remove_duplicate=False)).keys()
