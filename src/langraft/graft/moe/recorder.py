"""Routing is recorded, not returned: FFNs keep their signature, side losses read the recorder."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from torch import Tensor

from langraft.core.errors import ModelError
from langraft.graft.moe.router import Routing


class RoutingRecorder:
    """The routing of one expansion's layers in the current forward pass.

    Keyed by layer, so that activation recomputation overwrites its own entry instead of adding a
    second one. Whole routings are kept inside ``recording()`` alone, for side losses. Of layers
    that are followed, the share of each token that new experts give is kept for adapters above, by
    pass (see ``langraft.graft.forward_passes``).
    """

    def __init__(self) -> None:
        """Start empty; nobody records, no layer is followed."""
        self._routing: dict[int, Routing] = {}
        self._is_recording = False
        self._followed: set[int] = set()
        self._new_share: dict[int, Tensor] = {}

    @contextlib.contextmanager
    def recording(self) -> Generator[dict[int, Routing]]:
        """Yield a dictionary that a forward pass fills: layer to its routing of T tokens."""
        self._routing, self._is_recording = {}, True
        try:
            yield self._routing
        finally:
            self._routing, self._is_recording = {}, False

    def write(self, layer: int, routing: Routing) -> None:
        """Keep a layer's routing if somebody is recording."""
        if self._is_recording:
            self._routing[layer] = routing

    def follow(self, layer: int) -> None:
        """Keep the share of new experts in a layer from now on."""
        self._followed.add(layer)

    def follows(self, layer: int) -> bool:
        """Say whether the share of new experts in a layer is kept."""
        return layer in self._followed

    def use(self, new_share: dict[int, Tensor]) -> None:
        """Keep shares in a dictionary of their pass from now on."""
        self._new_share = new_share

    def write_new_share(self, layer: int, share_T: Tensor) -> None:
        """Keep the share of new experts in a followed layer, (T,), 0..1, without gradient."""
        self._new_share[layer] = share_T

    def new_share_T(self, layer: int) -> Tensor:
        """Return the share of new experts in a followed layer in the current forward pass.

        Raises:
            ModelError: when the layer has not run in this pass.
        """
        if layer not in self._new_share:
            raise ModelError(
                "Adapters weigh each token by the experts that it met in a layer below, which has "
                "not run in this forward pass: a layer was called by itself, or computed again "
                "from a copy of its input. Call the whole model, and recompute layers without "
                "offloading their inputs."
            )
        return self._new_share[layer]

    def has_new_share(self, layer: int) -> bool:
        """Say whether a followed layer has run in the current forward pass."""
        return layer in self._new_share
