"""Which columns of the base's matrices original languages need most.

Source-Shielded Updates (arXiv:2512.04844): a weight matters by its size times the norm of the input
feature that it multiplies, over some text of original languages (Wanda's score, arXiv:2306.11695);
a column, all weights of one input feature, by the sum over its weights:

    importance_j = sum_i |w_ij| * ||x_j||_2

Shape suffixes: T = tokens of a row, I = inputs of a projection.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from langraft.families.sites import layer_projections, projection_shape, weight_and_bias


def choose_free_columns(
    model: Any, rows: Iterable[Tensor], frozen_share: float
) -> dict[str, tuple[int, ...]]:
    """Choose the columns of every projection that may train: those that matter least.

    Args:
        model: The base, not grafted.
        rows: Token ids of original-language text, each (1, T); all tokens weigh the same, and
            several documents in a row see each other.
        frozen_share: Of a matrix's columns, 0..1 without the ends. At least one column is frozen
            and at least one free.

    Returns:
        By name of a projection the places of its free columns, ascending.
    """
    importance = column_importance(model, rows)
    chosen: dict[str, tuple[int, ...]] = {}
    for name, scores_I in importance.items():
        order = torch.argsort(scores_I, descending=True, stable=True)
        free = order[num_frozen_columns(len(order), frozen_share) :]
        chosen[name] = tuple(sorted(free.tolist()))
    return chosen


def planned_free_columns(model: Any, frozen_share: float) -> dict[str, range]:
    """Return as many columns as will be free, to plan with before the base has read any text."""
    widths = {name: projection_shape(m)[1] for name, m in layer_projections(model).items()}
    return {
        n: range(width - num_frozen_columns(width, frozen_share)) for n, width in widths.items()
    }


def num_frozen_columns(width_in: int, frozen_share: float) -> int:
    """Return how many of a matrix's columns are frozen: rounded down, as in the released code."""
    return min(max(1, int(width_in * frozen_share)), width_in - 1)


@torch.no_grad()
def column_importance(model: Any, rows: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return the importance of every column of every projection, (I,), float64.

    Args:
        model: The base, not grafted.
        rows: Token ids, each (1, T).
    """
    projections = layer_projections(model.eval())
    device = next(model.parameters()).device
    squares = {name: torch.zeros(1, dtype=torch.float64) for name in projections}

    def note(name: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        del module
        found_I = inputs[0].flatten(0, -2).double().square().sum(dim=0)
        squares[name] = squares[name].to(found_I.device) + found_I

    hooks = [
        module.register_forward_pre_hook(partial(note, name))
        for name, module in projections.items()
    ]
    try:
        for input_ids in rows:
            model.base_model(input_ids=input_ids.to(device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return {
        name: squares[name].sqrt() * weight_and_bias(module)[0].abs().sum(0, dtype=torch.float64)
        for name, module in projections.items()
    }
