"""Sums of a step by language: losses, side losses, and what the frozen expert got.

Shape suffixes: T = tokens of a micro-batch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from langraft.curriculum.loader import IGNORED
from langraft.graft.moe.router import Routing
from langraft.train.processes.group import Processes


class StepMeter:
    """Sums of one step, by language, on the device; read once at the step's end."""

    def __init__(self, num_languages: int, device: torch.device) -> None:
        self._zeros = torch.zeros(num_languages, dtype=torch.float64, device=device)
        self._nats = self._zeros.clone()
        self._labels = self._zeros.clone()
        self._expert_0 = self._zeros.clone()
        self._original_rows = self._zeros.clone()
        self._routed = self._zeros.clone()
        self._divergence = self._zeros.clone()
        self._retained = self._zeros.clone()
        self._side_losses: dict[str, Tensor] = {}

    def add_side_loss(self, name: str, value: Tensor, num_micro: int) -> None:
        """Add one micro-batch's part of a side loss."""
        self._side_losses[name] = self._side_losses.get(name, 0) + value.double() / num_micro

    def add_tokens(self, nats_T: Tensor, labels_T: Tensor, languages_T: Tensor) -> None:
        """Add the losses of a micro-batch's tokens, each (T,)."""
        self._nats.index_add_(0, languages_T, nats_T.double())
        self._labels.index_add_(0, languages_T, (labels_T != IGNORED).double())

    def add_divergence(
        self, divergence_T: Tensor, is_retained_T: Tensor, languages_T: Tensor
    ) -> None:
        """Add how far a micro-batch's retained tokens are from the base, each (T,)."""
        self._divergence.index_add_(0, languages_T, divergence_T.double())
        self._retained.index_add_(0, languages_T, is_retained_T.double())

    def add_routing(
        self, routing_by_layer: dict[int, Routing], languages_T: Tensor, is_token_T: Tensor
    ) -> None:
        """Add what the frozen expert got of a micro-batch in each layer, padding left out."""
        for routing in routing_by_layer.values():
            share_T = routing.log_original_T().detach().exp().double()
            self._expert_0.index_add_(0, languages_T, share_T * is_token_T)
            rows_T = routing.original_rows_T().double()
            self._original_rows.index_add_(0, languages_T, rows_T * is_token_T)
            self._routed.index_add_(0, languages_T, is_token_T.double())

    def record(self, processes: Processes, codes: tuple[str, ...]) -> dict[str, Any]:
        """Return the step's part of the log, over all processes and languages."""
        names = list(self._side_losses)
        kinds = [self._nats, self._labels, self._expert_0, self._original_rows, self._routed]
        sums = torch.stack([*kinds, self._divergence, self._retained])
        nats, labels, expert_0, rows, routed, divergence, retained = processes.sum(sums).tolist()
        side = [processes.sum(v) / processes.world_size for v in self._side_losses.values()]
        found: dict[str, Any] = {
            "loss": sum(nats) / max(1.0, sum(labels)),
            "loss_by_language": {
                c: n / m for c, n, m in zip(codes, nats, labels, strict=True) if m
            },
            "side_losses": {n: float(v) for n, v in zip(names, side, strict=True)},
            "expert_0": {c: n / m for c, n, m in zip(codes, expert_0, routed, strict=True) if m},
        }
        if any(routed):
            found["original_rows"] = sum(rows) / sum(routed)
        if any(retained):
            pairs = zip(codes, divergence, retained, strict=True)
            found["divergence"] = {c: n / m for c, n, m in pairs if m}
        return found
