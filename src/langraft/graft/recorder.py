"""Routing is recorded, not returned: FFNs keep their signature, side losses read the recorder."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from torch import Tensor


class RoutingRecorder:
    """Router logits of the current forward pass by layer, and how many experts a token chose.

    Keyed by layer, so that activation recomputation overwrites its own entry instead of adding a
    second one. Nothing is kept outside ``recording()``.
    """

    def __init__(self) -> None:
        """Start empty and closed."""
        self._logits: dict[int, Tensor] = {}
        self._is_open = False
        self.top_k = 0  # experts per token; the grafting method says

    @contextlib.contextmanager
    def recording(self) -> Generator[dict[int, Tensor]]:
        """Yield a dictionary that a forward pass fills: layer to logits (T, E), float32."""
        self._logits, self._is_open = {}, True
        try:
            yield self._logits
        finally:
            self._logits, self._is_open = {}, False

    def write(self, layer: int, logits_TE: Tensor) -> None:
        """Keep a layer's logits if somebody is recording."""
        if self._is_open:
            self._logits[layer] = logits_TE
