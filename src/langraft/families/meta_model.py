"""A base model without weights, whose parameters are read from its files part by part.

Several processes that share a model each need a part of every matrix. Loading it first would take
a whole copy per process; here parameters are on the meta device and each process reads its own
parts out of the safetensors files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from langraft.core.errors import ModelError
from langraft.families.load import build_model, load_config
from langraft.families.stored_names import stored_names
from langraft.families.tensors import ReadPart, TensorFiles


def model_on_meta(
    folder: Path, dtype: torch.dtype
) -> tuple[PreTrainedModel, dict[nn.Parameter, ReadPart]]:
    """Build the model of a folder with its parameters on the meta device and real buffers.

    Args:
        folder: Of the model.
        dtype: Precision of the weights, as for ``load_model``.

    Returns:
        The model, and what reads a part of each parameter.

    Raises:
        ModelError: when a part would keep another precision, or the files are of another kind or
            name their tensors differently; ``load_model`` handles those.
    """
    config = load_config(folder)
    with torch.device("meta"):
        model: Any = build_model(config, dtype)
    kept = getattr(model, "_keep_in_fp32_modules", None)
    if dtype != torch.float32 and (kept or getattr(model, "_keep_in_fp32_modules_strict", None)):
        raise ModelError(f"{type(model).__name__} keeps parts of itself in float32")
    tensors = TensorFiles.of_folder(folder)
    stored = stored_names(folder, model, tensors)
    # As in from_pretrained: initialising computes the buffers that checkpoints leave out.
    for name, buffer in list(model.named_non_persistent_buffers()):
        _set_buffer(model, name, torch.empty_like(buffer, device="cpu"))
    model.initialize_weights()
    for name, buffer in list(model.named_buffers()):
        if buffer.is_meta:
            _set_buffer(model, name, tensors.get(stored[name]).to(buffer.dtype))
    readers: dict[nn.Parameter, ReadPart] = {}
    for name, parameter in model.named_parameters():
        found = stored[name]
        readers[parameter] = lambda part, found=found: tensors.get_part(found, part).to(dtype)
    return model.eval(), readers


def _set_buffer(model: nn.Module, name: str, buffer: Tensor) -> None:
    path, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(path), attribute, buffer)
