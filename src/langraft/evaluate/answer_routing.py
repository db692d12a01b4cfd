"""How much of an answer the original expert carried, layer by layer.

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
def original_shares(model: Any, ids: Tensor, num_prompt: int) -> list[float]:
    """Return the share of each layer's output that expert 0 gave, averaged over an answer.

    One forward pass over prompt and answer, read where answer tokens are predicted, as held-out
    text is. What the guard decided for the prompt holds: a guarded answer is all original, and so
    is a layer without experts.

    Args:
        model: A graft.
        ids: Of the prompt and then the answer, (1, T).
        num_prompt: Tokens of the prompt, in 1..T-1.

    Returns:
        A share in 0..1 for each layer.

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
        # The decoder alone: a prompt's language is judged at the model itself, which is not called.
        model.base_model(input_ids=ids, use_cache=False)
        routing_by_layer = {k: v for found in recorded for k, v in found.items()}
    shares = [1.0] * num_layers
    for layer, routing in routing_by_layer.items():
        shares[layer] = float(routing.shares_TE()[num_prompt - 1 : -1, 0].double().mean())
    return shares
