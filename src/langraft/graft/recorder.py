"""Routing is recorded, not returned: FFNs keep their signature, side losses read the recorder."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from langraft.graft.router import Routing


class RoutingRecorder:
    """What each layer decided in the current forward pass.

    Keyed by layer, so that activation recomputation overwrites its own entry instead of adding a
    second one. Nothing is kept outside ``recording()``.
    """

    def __init__(self) -> None:
        """Start empty and closed."""
        self._routing: dict[int, Routing] = {}
        self._is_open = False

    @contextlib.contextmanager
    def recording(self) -> Generator[dict[int, Routing]]:
        """Yield a dictionary that a forward pass fills: layer to its routing of T tokens."""
        self._routing, self._is_open = {}, True
        try:
            yield self._routing
        finally:
            self._routing, self._is_open = {}, False

    def write(self, layer: int, routing: Routing) -> None:
        """Keep a layer's routing if somebody is recording."""
        if self._is_open:
            self._routing[layer] = routing
