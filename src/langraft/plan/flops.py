"""Floating-point operations of training on a token: forward, backward and recomputation.

A multiply and an add are two operations. Forward, a token costs 2 for each weight it is multiplied
with; backward, 2 for each weight through which a gradient passes to something that trains, and 2
for each weight that trains itself. Left out: norms, softmax, sorting by expert, the optimizer.
"""

from __future__ import annotations

from collections.abc import Iterable

from langraft.core.settings.training import Training
from langraft.plan.model_shape import Layer, ModelShape, Projection


def flops_per_token(shape: ModelShape, training: Training) -> float:
    """Return the operations of training on one token: recomputation, what the base reads too."""
    length, total = training.sequence_length, 0.0
    for layer in shape.layers:
        total += forward_flops(layer, length) + _backward_flops(layer, length)
        if layer.has_backward:
            total += _recomputed_flops(layer, length, training)
    head = 2 * _num_weights(shape.head)
    total += head + _gradient_flops(shape.head, shape.layers[-1].has_backward)
    return total + shape.retained_share * _base_flops(shape, training)


def _base_flops(shape: ModelShape, training: Training) -> float:
    """Return the operations of the forward pass on one token through the base alone."""
    total = 0.0
    for layer in shape.layers:
        attention, ffn = (
            (*layer.attention_in, *layer.attention_out),
            (*layer.ffn_in, *layer.ffn_out),
        )
        total += 2.0 * _num_weights(p for p in (*attention, *ffn) if not p.is_adapter)
        total += _attention_flops(layer, training.sequence_length)
    return total + 2.0 * _num_weights(p for p in shape.head if not p.is_adapter)


def forward_flops(layer: Layer, length: int) -> float:
    """Return the operations of a layer's forward pass on one token of a row of this length."""
    total = _num_weights(layer.attention_in + layer.attention_out) * 2.0
    total += _attention_flops(layer, length)
    experts, ffn = layer.experts, 2 * _num_weights(layer.ffn_in + layer.ffn_out)
    if experts is None:
        return total + ffn
    router = 2 * layer.model_width * experts.num_competing
    return total + ffn * (experts.original_rows + experts.new_rows) + router


def _backward_flops(layer: Layer, length: int) -> float:
    """Return the operations of a layer's backward pass on one token of a row of this length."""
    below, behind = layer.needs_attention_gradient, layer.needs_ffn_gradient
    total = _gradient_flops(layer.attention_in, below)
    wants_attention = below or any(p.is_trained for p in layer.attention_in)
    # The backward pass computes the scores once more, and four other products.
    total += 2.5 * _attention_flops(layer, length) if wants_attention else 0
    total += _gradient_flops(layer.attention_out, wants_attention)
    experts, wants_inner = layer.experts, behind or any(p.is_trained for p in layer.ffn_in)
    original = _gradient_flops(layer.ffn_in, behind)
    original += _gradient_flops(layer.ffn_out, wants_inner)
    if experts is None:
        return total + original
    new_in, new_out = (
        2.0 * _num_weights(p for p in projections if not p.is_adapter)
        for projections in (layer.ffn_in, layer.ffn_out)
    )
    new = (new_in + new_out) * (behind + experts.is_trained)
    new += new_out if experts.is_trained and not behind else 0  # the way to the inner weights
    router = 2 * layer.model_width * experts.num_competing * (behind + experts.is_router_trained)
    return total + original * experts.original_rows + new * experts.new_rows + router


def _recomputed_flops(layer: Layer, length: int, training: Training) -> float:
    """Return what activation checkpointing computes a second time.

    A whole plain layer stops before its last product; ``selective`` recomputes the products whose
    output is wider than their input.
    """
    if not training.activation_checkpointing:
        return 0.0
    experts = layer.experts
    if training.activation_checkpointing != "selective":
        last = 2.0 * layer.ffn_out[0].num_weights if experts is None else 0.0
        return forward_flops(layer, length) - last
    rows = 1.0 if experts is None else experts.original_rows + experts.new_rows
    projections = (*layer.attention_in, *layer.attention_out)
    wide = 2.0 * _num_weights(p for p in projections if p.width_out > p.width_in)
    return wide + rows * 2.0 * _num_weights(layer.ffn_in)


def _attention_flops(layer: Layer, length: int) -> float:
    """Return the two products of attention, over on average half of a row's tokens."""
    return 2.0 * length * layer.attention_width


def _gradient_flops(projections: Iterable[Projection], wants_below: bool) -> float:
    """Return the operations for gradients of the inputs and the weights of projections."""
    return sum(
        2.0 * (p.num_weights * (wants_below or p.is_adapter) + p.num_trained) for p in projections
    )


def _num_weights(projections: Iterable[Projection]) -> int:
    return sum(p.num_weights for p in projections)
