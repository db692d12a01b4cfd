"""What stands around a module of the model and belongs to one expansion."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import Any, ClassVar

from torch import nn

from langraft.graft.context import GraftContext


class AbstractMatrixWrapper(nn.Module, ABC):
    """A frozen matrix, or what an earlier expansion left around it, with an addition."""

    is_outermost: ClassVar[bool] = False  # whether later wrappers go inside, as it changes sizes

    def __init__(self, base: nn.Module, context: GraftContext) -> None:
        """Wrap a module; the caller puts the result in its place."""
        super().__init__()
        self.base = base
        self._context = context

    def is_of(self, context: GraftContext) -> bool:
        """Say whether it came with an expansion."""
        return self._context is context

    @property
    def weight(self) -> Any:
        """The frozen matrix, for code that asks for its dtype or device."""
        return self.base.weight

    @property
    def bias(self) -> Any:
        """The frozen bias, or None."""
        return self.base.bias


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
