"""How many experts each layer needs, from how alike languages look there.

LayerMoE (arXiv:2505.22582): layers that represent languages alike share what they learn and need
few experts; layers that keep languages apart need many. With S_l the cross-lingual similarity of
the hidden states after attention in layer l, and a budget of delta experts over all layers,

    N_l = ceil(delta * S_l^-1 / sum over layers of S^-1)

Our reading, as the rule leaves it open: S_l is the cosine between the mean hidden states of an
original and a new language, averaged over all such pairs; what is common to every token of every
language, which alone makes cosines large, is not taken away.

Shape suffixes: T = tokens, D = model width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import product
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from langraft.core.settings.languages import Languages
from langraft.families.sites import find_ffn_sites
from langraft.graft.moe.expanded_ffn import original_ffn

_LEAST_SIMILARITY = 1e-3


@torch.no_grad()
def layer_similarities(
    model: Any, rows: Mapping[str, Sequence[Tensor]], languages: Languages
) -> list[float]:
    """Measure how alike original and new languages look to each layer's FFN.

    Args:
        model: The base, grafted before or not.
        rows: Token ids by language, each (1, T).
        languages: Which of them are original and which new.

    Returns:
        Mean cosine by layer, at least 0.001.
    """
    sites = find_ffn_sites(model.eval(), original_ffn)
    device = next(model.parameters()).device
    seen: dict[int, Tensor] = {}  # by layer, the sum of hidden states of the current pass

    def note(layer: int, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        del module
        seen[layer] = inputs[0].flatten(0, -2).double().sum(0)

    ffns = [getattr(site.parent, site.attribute) for site in sites]
    hooks = [f.register_forward_pre_hook(partial(note, layer)) for layer, f in enumerate(ffns)]
    means: dict[str, list[Any]] = {}
    try:
        for code in (*languages.original, *languages.new):
            means[code] = [0.0] * len(sites)
            for input_ids in rows[code]:
                model(input_ids=input_ids.to(device), use_cache=False)
                for layer, summed in seen.items():
                    means[code][layer] = means[code][layer] + summed
    finally:
        for hook in hooks:
            hook.remove()
    return [
        max(
            _LEAST_SIMILARITY,
            fmean(
                nn.functional.cosine_similarity(means[a][layer], means[b][layer], dim=0).item()
                for a, b in product(languages.original, languages.new)
            ),
        )
        for layer in range(len(sites))
    ]


def allocate_experts(
    similarities: Sequence[float], budget: int, fewest: int = 0
) -> tuple[int, ...]:
    """Share a budget of experts among layers by inverse similarity, rounded up (LayerMoE).

    Args:
        similarities: By layer, from ``layer_similarities``.
        budget: Experts over all layers, before rounding.
        fewest: No layer gets fewer.
    """
    inverse = [1 / similarity for similarity in similarities]
    shares = [math.ceil(budget * part / sum(inverse) - 1e-9) for part in inverse]
    return tuple(max(fewest, share) for share in shares)


def allocate_whole_layers(similarities: Sequence[float], budget: int, each: int) -> tuple[int, ...]:
    """Give ``each`` experts to the least alike layers and none to the rest, within a budget.

    Standard formats hold layers with N experts or none, but not layers with different numbers.
    """
    num_layers = max(1, budget // each)
    chosen = sorted(range(len(similarities)), key=similarities.__getitem__)[:num_layers]
    return tuple(each if layer in chosen else 0 for layer in range(len(similarities)))
