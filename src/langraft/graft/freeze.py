"""What trains and what must not move, and the proof of it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from langraft.core.errors import TrainingError

_EXPANDED_BY = "langraft_expanded_by"


def parameter_groups(model: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """Return the model's parameters by group: the name on their module, else ``base``."""
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

    Trained weights are held in float32 whatever the base's precision.

    Args:
        model: A grafted model.
        trains: Group names, or everything.
        token_rows: Of the method; unless "all", embedding and head stay frozen even when
            everything trains.

    Returns:
        The trainable parameters by name.

    Raises:
        TrainingError: when nothing would train.
    """
    held = set[int]()
    if token_rows != "all":
        matrices = [model.get_input_embeddings(), model.get_output_embeddings()]  # pyright: ignore[reportCallIssue]
        held = {id(getattr(m, part, None)) for m in matrices for part in ("weight", "bias")}
    trainable: dict[str, nn.Parameter] = {}
    for group, parameters in parameter_groups(model).items():
        for name, parameter in parameters.items():
            is_trained = (trains == "everything" or group in trains) and id(parameter) not in held
            parameter.requires_grad_(is_trained)
            parameter.grad = None
            if is_trained:
                parameter.data = parameter.data.float()
                trainable[name] = parameter
    if not trainable:
        raise TrainingError(f"The stage trains {trains}, but the model has no such parameters.")
    return trainable


def fingerprint_frozen(model: nn.Module) -> str:
    """Return a hash over name, shape and every bit of all frozen parameters and buffers.

    Under sharding each process hashes what it holds.
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
    """Return the group that a module's own parameters train in; empty for the base's.

    What an earlier expansion brought is in the group ``earlier``, which no method trains.
    """
    return "earlier" if hasattr(module, _EXPANDED_BY) else getattr(module, "langraft_group", "")


def freeze_expansions(modules: Iterable[nn.Module], expansion: int) -> None:
    """Freeze for good what trained before the expansion of this number."""
    for module in modules:
        if group_of(module) not in ("", "earlier"):
            setattr(module, _EXPANDED_BY, expansion)


def thaw_expansions(model: nn.Module, expansion: int) -> None:
    """Undo ``freeze_expansions``."""
    for module in model.modules():
        if getattr(module, _EXPANDED_BY, None) == expansion:
            delattr(module, _EXPANDED_BY)
