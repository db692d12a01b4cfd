"""Choose which parameters train, and fingerprint the frozen ones to prove that none changed."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from langraft.core.errors import TrainingError
from langraft.graft.wrappers.base import frozen_module

_EXPANDED_BY = "langraft_expanded_by"
_NEVER_TRAINS = "langraft_never_trains"


def parameter_groups(model: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """Return the model's parameters by the group of their module; the base's are in ``base``."""
    groups: dict[str, dict[str, nn.Parameter]] = defaultdict(dict)
    group_of_module = {
        name: group for name, module in model.named_modules() if (group := group_of(module))
    }
    for name, parameter in model.named_parameters():
        groups[group_of_module.get(name.rpartition(".")[0], "base")][name] = parameter
    return dict(groups)


def set_trainable(
    model: nn.Module,
    trains: Literal["everything"] | tuple[str, ...],
    *,
    token_rows: Literal["frozen", "rare", "all"],
) -> dict[str, nn.Parameter]:
    """Let the named groups train and freeze the rest.

    Trained weights are kept in float32 whatever the base's precision.

    Args:
        model: A grafted model.
        trains: Group names, or everything but what ``never_train`` was told.
        token_rows: The method's setting; unless it is "all", embedding and output matrix stay
            frozen even when everything trains.

    Returns:
        The trainable parameters by name.

    Raises:
        TrainingError: when nothing would train.
    """
    frozen = never_trained(model)
    if token_rows != "all":
        wrapped = [model.get_input_embeddings(), model.get_output_embeddings()]  # pyright: ignore[reportCallIssue]
        matrices = [frozen_module(each) for each in wrapped]
        frozen |= {id(getattr(m, part, None)) for m in matrices for part in ("weight", "bias")}
    trainable: dict[str, nn.Parameter] = {}
    for group, parameters in parameter_groups(model).items():
        for name, parameter in parameters.items():
            is_trained = (trains == "everything" or group in trains) and id(parameter) not in frozen
            parameter.requires_grad_(is_trained)
            parameter.grad = None
            if is_trained:
                parameter.data = parameter.data.float()
                trainable[name] = parameter
    if not trainable:
        raise TrainingError(f"The stage trains {trains}, but the model has no such parameters.")
    return trainable


def never_train(modules: Iterable[nn.Module]) -> None:
    """Keep the modules' own parameters frozen in every stage, even where everything trains.

    A graft does not hold them: they are read from the base.
    """
    for module in modules:
        setattr(module, _NEVER_TRAINS, True)


def never_trained(model: nn.Module) -> set[int]:
    """Return the ids of the parameters that no stage trains."""
    return {
        id(parameter)
        for module in model.modules()
        if hasattr(module, _NEVER_TRAINS)
        for parameter in module.parameters(recurse=False)
    }


def fingerprint_frozen(model: nn.Module) -> str:
    """Return a hash over the names, shapes and bits of all frozen parameters and buffers.

    Under sharding each process hashes its own shard.
    """
    digest = hashlib.blake2b(digest_size=16)
    tensors: list[tuple[str, Tensor]] = [
        *((n, p) for n, p in model.named_parameters() if not p.requires_grad),
        *model.named_buffers(),
    ]
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> Any:
    local: Any = tensor.to_local() if hasattr(tensor, "to_local") else tensor  # pyright: ignore
    flat = local.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().data if flat.numel() else b""


def group_of(module: nn.Module) -> str:
    """Return the group that a module's own parameters train in, or "" for the base's.

    Modules of an earlier expansion are in the group ``earlier``, which no method trains.
    """
    return "earlier" if hasattr(module, _EXPANDED_BY) else getattr(module, "langraft_group", "")


def freeze_expansions(modules: Iterable[nn.Module], expansion: int) -> None:
    """Freeze the modules that earlier expansions added, for the expansion of this number."""
    for module in modules:
        if group_of(module) not in ("", "earlier"):
            setattr(module, _EXPANDED_BY, expansion)


def thaw_expansions(model: nn.Module, expansion: int) -> None:
    """Undo ``freeze_expansions``."""
    for module in model.modules():
        if getattr(module, _EXPANDED_BY, None) == expansion:
            delattr(module, _EXPANDED_BY)
