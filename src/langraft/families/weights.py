"""A model without weights, and its weights read from their files piece by piece.

Several processes that share a model each need a part of every matrix. Reading it whole first would
take a whole copy a process; here the model is built with parameters on the meta device, and parts
are read out of the safetensors files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from langraft.core.artifacts import read_json
from langraft.core.errors import ModelError

Part = tuple[slice, ...]

_INDEX = "model.safetensors.index.json"
_ONE_FILE = "model.safetensors"


def outline_model(folder: Path, dtype: torch.dtype) -> PreTrainedModel:
    """Build the model of a folder's config: parameters on the meta device, buffers computed.

    Args:
        folder: Of the model.
        dtype: Precision of the weights, as for ``load_model``.

    Raises:
        ModelError: when some parts would keep another precision, which only loading decides.
    """
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with _parameters_on_meta():
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)
    kept = getattr(model, "_keep_in_fp32_modules", None)
    if dtype != torch.float32 and (kept or getattr(model, "_keep_in_fp32_modules_strict", None)):
        raise ModelError(f"{type(model).__name__} keeps parts of itself in float32")
    return model.eval()


@contextlib.contextmanager
def _parameters_on_meta() -> Generator[None]:
    """Put every parameter that a module registers on the meta device; buffers stay as they are."""
    register = nn.Module.register_parameter

    def register_on_meta(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        if param is not None and not param.is_meta:
            param = nn.Parameter(param.to("meta"), requires_grad=param.requires_grad)
        register(self, name, param)

    nn.Module.register_parameter = register_on_meta
    try:
        yield
    finally:
        nn.Module.register_parameter = register


class TensorParts:
    """Tensors of safetensors files by name, of which parts are read."""

    def __init__(self, paths: dict[str, Path]) -> None:
        """Remember the file of each name; a file is opened when it is first needed."""
        self._paths = paths
        self._files: dict[Path, Any] = {}

    @classmethod
    def of_file(cls, path: Path) -> TensorParts:
        """Return the tensors of one file."""
        file = _open(path)
        return cls(dict.fromkeys(file.keys(), path))

    @property
    def names(self) -> set[str]:
        """Names of all tensors."""
        return set(self._paths)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's whole shape."""
        return tuple(self._slice(name).get_shape())

    def read(self, name: str, part: Part) -> Tensor:
        """Return a part of a tensor, a slice a dimension."""
        try:
            return self._slice(name)[part]
        except SafetensorError as error:
            raise ModelError(f"{self._paths[name]} is damaged: {error}.") from error

    def _slice(self, name: str) -> Any:
        path = self._paths[name]
        if path not in self._files:
            self._files[path] = _open(path)
        return self._files[path].get_slice(name)


def base_tensors(folder: Path, model: PreTrainedModel) -> tuple[TensorParts, dict[str, str]]:
    """Find each parameter of a model in its folder's files.

    Args:
        folder: Of the model.
        model: Built from its config, without weights.

    Returns:
        The tensors of the files, and each parameter's name there by its name in the model.

    Raises:
        ModelError: when the files are of another kind, or do not name their tensors as the model
            does; ``load_model`` converts those.
    """
    if (folder / _INDEX).is_file():
        named = read_json(folder / _INDEX).get("weight_map", {})
        tensors = TensorParts({name: folder / file for name, file in named.items()})
    elif (folder / _ONE_FILE).is_file():
        tensors = TensorParts.of_file(folder / _ONE_FILE)
    else:
        raise ModelError(f"{folder} has no {_ONE_FILE}")
    prefix = f"{model.base_model_prefix}."
    aliases: dict[int, list[str]] = {}  # a tied matrix has several names, and is stored by one
    for name, parameter in model.named_parameters(remove_duplicate=False):
        aliases.setdefault(id(parameter), []).extend([name, name.removeprefix(prefix)])
    found: dict[str, str] = {}
    for name, parameter in model.named_parameters():
        stored = next((n for n in aliases[id(parameter)] if n in tensors.names), None)
        if stored is None or tensors.shape(stored) != tuple(parameter.shape):
            raise ModelError(f"{folder} does not store {name} as the model has it")
        found[name] = stored
    return tensors, found


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist; the folder is incomplete.") from None
    except SafetensorError as error:
        raise ModelError(f"{path} is damaged: {error}.") from error
