"""Routing weight of the original expert over an answer, layer by layer.

Shape suffixes: E = experts, T = tokens.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from langraft.core.errors import ShapeError
from langraft.graft.surgery import graft_info


@torch.no_grad()
def original_share_by_layer(model: Any, ids: Tensor, num_prompt: int) -> list[float]:
    """Return the routing weight of expert 0 in each layer, averaged over an answer.

    Takes one forward pass over prompt and answer, and reads the positions that predict answer
    tokens. The guard's decision for the prompt stays: a guarded answer counts as all original, as
    does a layer without experts.

    Args:
        model: A graft.
        ids: Token ids of the prompt and then the answer, (1, T).
        num_prompt: Tokens of the prompt, in 1..T-1.

    Returns:
        A weight in 0..1 for each layer.

    Raises:
        ShapeError: when no token is left for an answer.
    """
    info = graft_info(model)
    num_layers: int = model.config.num_hidden_layers
    if all(expansion.context.guard.is_on for expansion in info.expansions):
        return [1.0] * num_layers
    if not 0 < num_prompt < ids.shape[1]:
        raise ShapeError(f"{num_prompt} of {ids.shape[1]} tokens leave no answer to a prompt.")
    with ExitStack() as stack:
        recorded = [stack.enter_context(e.recorder.recording()) for e in info.expansions]
        # Call only the decoder, because the model itself would identify the language again.
        model.base_model(input_ids=ids, use_cache=False)
        routing_by_layer = {k: v for found in recorded for k, v in found.items()}
    shares = [1.0] * num_layers
    for layer, routing in routing_by_layer.items():
        shares[layer] = float(routing.shares_TE()[num_prompt - 1 : -1, 0].double().mean())
    return shares
