"""What stands around a module of the model and belongs to one expansion."""

from __future__ import annotations

from abc import ABC
from typing import Any

from torch import nn

from langraft.graft.context import GraftContext


class AbstractMatrixWrapper(nn.Module, ABC):
    """A frozen matrix, or what an earlier expansion left around it, with an addition."""

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
