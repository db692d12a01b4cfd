"""Wrappers around a frozen matrix of the model; each belongs to one expansion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from langraft.core.errors import ModelError
from langraft.graft.expansion_context import GraftContext


class AbstractMatrixWrapper(nn.Module, ABC):
    """A frozen matrix, or an earlier expansion's wrapper of it, with an addition."""

    is_outermost: ClassVar[bool] = False  # it changes sizes, so later wrappers go inside it
    is_by_token: ClassVar[bool] = False  # its addition differs by token, so it is no matrix

    def __init__(self, base: nn.Module, context: GraftContext) -> None:
        """Wrap a module; the caller puts the result in its place."""
        super().__init__()
        self.base = base
        self._context = context

    def belongs_to(self, context: GraftContext) -> bool:
        """Say whether it came with this expansion."""
        return self._context is context

    @property
    def weight(self) -> Tensor:
        """The matrix with all additions, for code that multiplies by it, as fused losses do.

        It is made when asked for; what is written into it is lost. Trained additions get their
        gradient through it. Where tokens meet different matrices it has the dtype, the device and
        the shape, and computing with it is a ModelError.
        """
        wrappers = [m for m in self.modules() if isinstance(m, AbstractMatrixWrapper)]
        frozen, reason = frozen_weight(self), None
        if frozen.is_meta:
            reason = "The model was built without weights"
        elif any(wrapper.is_by_token for wrapper in wrappers):
            reason = "Each token meets its own, as adapters weigh by the experts that it met"
        elif any(wrapper._context.guard.is_on for wrapper in wrappers):
            reason = "Guarded sequences meet the matrix of the base and the rest the graft's"
        if reason is not None:
            shape = torch.Size((self.num_rows, *frozen.shape[1:]))
            return _no_matrix(frozen, shape, reason)
        return self._matrix()

    @property
    def bias(self) -> Any:
        """The bias, or None."""
        return self.base.bias

    @property
    def num_rows(self) -> int:
        """How many rows the matrix has."""
        base: Any = self.base
        return base.num_rows if isinstance(base, AbstractMatrixWrapper) else len(base.weight)

    @abstractmethod
    def _matrix(self) -> Tensor:
        """Return the matrix with all additions; only asked for where all tokens meet one."""


def frozen_module(module: Any) -> Any:
    """Return the base's own module behind any wrappers, or the module itself."""
    while isinstance(module, AbstractMatrixWrapper):
        module = module.base
    return module


def frozen_weight(module: Any) -> Tensor:
    """Return the base's own matrix behind any wrappers."""
    return frozen_module(module).weight


class _NoMatrix(Tensor):
    """What tells dtype, device and shape of a matrix that does not exist as one."""

    reason: str

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer questions about it; refuse to compute with it."""
        if func in _QUESTIONS:
            return super().__torch_function__(func, types, args, kwargs or {})
        found = next(a for a in (*args, *(kwargs or {}).values()) if isinstance(a, cls))
        raise ModelError(
            f"This module of the graft has no single `weight` to compute with: {found.reason}. "
            "Call the module itself instead (for a fused loss: compute logits by the model)."
        )


_PROPERTIES = ("dtype", "device", "shape", "ndim", "layout", "is_cuda", "is_meta", "requires_grad")
_QUESTIONS = {
    *(getattr(Tensor, name).__get__ for name in _PROPERTIES),
    Tensor.size,
    Tensor.__len__,
    Tensor.dim,
    Tensor.numel,
    Tensor.is_floating_point,
}


def _no_matrix(like: Tensor, shape: torch.Size, reason: str) -> Tensor:
    matrix = like.new_empty(1).expand(shape).as_subclass(_NoMatrix)
    matrix.reason = reason
    return matrix


def wrap_embedding(model: Any, wrap: Callable[[Any], nn.Module]) -> None:
    """Put a wrapper around a model's embedding, in place."""
    embedding = model.get_input_embeddings()
    if getattr(embedding, "is_outermost", False):
        embedding.base = wrap(embedding.base)
    else:
        model.set_input_embeddings(wrap(embedding))


def wrap_head(model: Any, wrap: Callable[[Any], nn.Module]) -> None:
    """Put a wrapper around a model's output matrix, in place."""
    head = model.get_output_embeddings()
    if getattr(head, "is_outermost", False):
        head.base = wrap(head.base)
    else:
        model.set_output_embeddings(wrap(head))


def note_ties(model: Any) -> None:
    """Tell transformers by which names a model's tied parameters go now that wrappers moved them.

    Saving, loading and ``tie_weights`` go by these names; those of its class are of bare matrices.
    """
    names: dict[nn.Parameter, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(parameter, []).append(name)
    of_embedding = {id(parameter) for parameter in model.get_input_embeddings().parameters()}
    ties = {
        alias: first
        for parameter, (first, *aliases) in names.items()
        if id(parameter) in of_embedding
        for alias in aliases
    }
    model._tied_weights_keys = ties
    model.all_tied_weights_keys = dict(ties)
