"""Routing weight of the original expert, token by token while a model generates.

Shape suffixes: E = experts, T = tokens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

from langraft.graft.surgery import graft_info


@contextlib.contextmanager
def tracing_original_share(model: Any) -> Generator[Callable[[], list[float]]]:
    """Yield a function that returns, by layer, what expert 0 carried at the last position.

    It speaks of the last forward pass inside, of one sequence: of the position that predicts the
    next token. A guarded sequence counts as all original, as does a layer without experts.

    Args:
        model: A graft.
    """
    num_layers: int = model.config.num_hidden_layers
    with contextlib.ExitStack() as stack:
        expansions = graft_info(model).expansions
        recorded = [stack.enter_context(e.recorder.recording()) for e in expansions]

        def shares() -> list[float]:
            routing_by_layer = {k: v for found in recorded for k, v in found.items()}
            return [
                float(routing_by_layer[layer].shares_TE()[-1, 0])
                if layer in routing_by_layer
                else 1.0
                for layer in range(num_layers)
            ]

        yield shares
