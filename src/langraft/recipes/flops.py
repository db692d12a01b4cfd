"""Floating-point operations of a token: forward, backward and what is computed a second time.

A multiply and an add are two. Forward a token costs 2 for each weight it meets; backward 2 for each
weight through which a gradient goes on to something that trains, and 2 for each weight that trains
itself. Normalisation, softmax, routing's bookkeeping and the optimizer are left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from langraft.core.training import Training
from langraft.recipes.anatomy import Anatomy, Layer, Product


def flops_per_token(anatomy: Anatomy, training: Training) -> float:
    """Return the operations of a token of one stage, what is recomputed among them."""
    length, total = training.sequence_length, 0.0
    for layer, reaches in zip(anatomy.layers, anatomy.reaches, strict=True):
        total += forward_flops(layer, length) + _backward(layer, length, reaches=reaches)
        if (reaches or layer.is_trained) and training.activation_checkpointing:
            is_selective = training.activation_checkpointing == "selective"
            total += _wide(layer) if is_selective else _recomputed(layer, length)
    return total + _head(anatomy)


def forward_flops(layer: Layer, length: int) -> float:
    """Return the operations of a layer's forward pass."""
    total = _weights(layer.attention_in + layer.attention_out) * 2.0 + _scores(layer, length)
    around, ffn = layer.experts, 2 * _weights(layer.ffn_in + layer.ffn_out)
    if around is None:
        return total + ffn
    router = 2 * layer.model_width * around.num_competing
    return total + ffn * (around.original_rows + around.new_rows) + router


def _backward(layer: Layer, length: int, *, reaches: bool) -> float:
    """Return the operations of a layer's backward pass.

    Args:
        layer: The layer.
        length: Tokens of a row.
        reaches: Whether the gradient of its input is wanted.
    """
    below = reaches or layer.is_norm_trained
    total = _gradients(layer.attention_in, is_wanted_below=below)
    scores_want = below or any(p.is_trained for p in layer.attention_in)
    total += 2.5 * _scores(layer, length) if scores_want else 0  # the scores once more, four others
    total += _gradients(layer.attention_out, is_wanted_below=scores_want)
    behind = reaches or layer.is_attention_trained
    around, inner = layer.experts, behind or any(p.is_trained for p in layer.ffn_in)
    original = _gradients(layer.ffn_in, is_wanted_below=behind)
    original += _gradients(layer.ffn_out, is_wanted_below=inner)
    if around is None:
        return total + original
    new_in, new_out = (
        sum(2.0 * p.num_weights for p in products if not p.is_adapter)
        for products in (layer.ffn_in, layer.ffn_out)
    )
    new = (new_in + new_out) * (behind + around.is_trained)
    new += new_out if around.is_trained and not behind else 0  # the way to the inner weights
    router = 2 * layer.model_width * around.num_competing * (behind + around.is_router_trained)
    return total + original * around.original_rows + new * around.new_rows + router


def _recomputed(layer: Layer, length: int) -> float:
    """Return what a recomputed layer costs; a plain one stops before its last product."""
    total = forward_flops(layer, length)
    return total if layer.experts is not None else total - 2.0 * layer.ffn_out[0].num_weights


def _wide(layer: Layer) -> float:
    """Return the products that are wider than what they read, which selective recomputes."""
    around, rows = layer.experts, 1.0
    if around is not None:
        rows = around.original_rows + around.new_rows
    products = (*layer.attention_in, *layer.attention_out)
    wide = 2.0 * _weights(p for p in products if p.width_out > p.width_in)
    return wide + rows * 2.0 * _weights(layer.ffn_in)


def _head(anatomy: Anatomy) -> float:
    below = anatomy.reaches[-1] or anatomy.layers[-1].is_trained
    return 2 * _weights(anatomy.head) + _gradients(anatomy.head, is_wanted_below=below)


def _scores(layer: Layer, length: int) -> float:
    """Return two products over on average half of a row's tokens."""
    return 2.0 * length * layer.attention_width


def _gradients(products: Iterable[Product], *, is_wanted_below: bool) -> float:
    """Return the operations for gradients of what products read and of their own weights."""
    return sum(
        2.0 * p.num_weights * ((is_wanted_below or p.is_adapter) + p.is_trained) for p in products
    )


def _weights(products: Iterable[Product]) -> int:
    return sum(p.num_weights for p in products)
