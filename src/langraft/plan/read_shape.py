"""The shape of a model, read off its modules, which may be without weights (on the meta device)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from langraft.families.sites import decoder_layers, projection_shape
from langraft.graft.freeze import group_of
from langraft.graft.moe.expanded_ffn import ExpandedFFN
from langraft.graft.moe.experts import ExpertBank
from langraft.graft.moe.gate import SigmoidGate
from langraft.graft.wrappers.free_columns import FreeColumnProjection
from langraft.graft.wrappers.new_rows import ExtendedHead
from langraft.graft.wrappers.token_rows import RareRowHead
from langraft.plan.model_shape import Experts, Layer, ModelShape, Projection, Weights
from langraft.train.compute.quantize import frozen_projections

_ADAPTERS = ("adapters", "earlier")
# These activations are computed in several operations, each of which keeps its input.
_MANY_STEPS = {"NewGELUActivation", "FastGELUActivation", "BloomGelu"}


def read_model_shape(model: Any) -> ModelShape:
    """Return the shape of a grafted model, whose ``requires_grad`` flags say what trains."""
    _, modules = decoder_layers(model)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    inside = {id(p) for layer in modules for p in layer.parameters()}
    new = {id(p) for m in model.modules() if group_of(m) for p in m.parameters(recurse=False)}
    outside = [p for p in model.parameters() if id(p) not in inside]
    head_width = _head_width(model.config)
    layers: list[Layer] = []
    needs_gradient = any(p.requires_grad for p in embedding.parameters())
    for module in modules:
        layers.append(_read_layer(module, head_width, new, needs_gradient))
        needs_gradient = layers[-1].has_backward
    return ModelShape(
        layers=tuple(layers),
        head=_read_head(head),
        vocab_size=model.config.get_text_config().vocab_size,
        weights=_count(model, model.parameters(), new),
        outside=_count(model, outside, new),
        quantizable=sum(each.weight.numel() for each in frozen_projections(model).values()),
    )


def _read_head(head: nn.Module) -> tuple[Projection, ...]:
    """Read the output matrix, of which some rows may train."""
    projections, new = _projections(head), tuple[Projection, ...]()
    for module in head.modules():
        if isinstance(module, RareRowHead) and module.deltas.delta.requires_grad:
            num_rows = len(module.deltas.delta)
            projections = tuple(
                p
                if p.is_adapter
                else replace(p, is_trained=True, trained_share=num_rows / p.width_out)
                for p in projections
            )
        elif isinstance(module, ExtendedHead):
            rows = module.new_rows.weight
            new = (
                Projection(
                    width_in=rows.shape[1], width_out=rows.shape[0], is_trained=rows.requires_grad
                ),
            )
    return (*projections, *new)


def _read_layer(
    layer: nn.Module, head_width: int, new: set[int], needs_input_gradient: bool
) -> Layer:
    """Find attention and FFN of a layer: its FFN is the last child that has projections."""
    originals = [
        child.original if isinstance(child, ExpandedFFN) else child for child in layer.children()
    ]
    children = list(zip(layer.children(), map(_projections, originals), strict=True))
    *_, (ffn, ffn_products) = (found for found in children if found[1])
    attention = [p for child, projections in children if child is not ffn for p in projections]
    attention_in, attention_out = _split(attention)
    ffn_in, ffn_out = _split(ffn_products)
    norms = [m for m in layer.modules() if "Norm" in type(m).__name__]
    width = ffn_out[0].width_out
    heads = attention_out[0].width_in
    keys = [p.width_out for p in attention_in if not p.is_adapter]
    of_heads = [heads, keys[1] if len(keys) > 1 else heads]  # queries first, then keys
    widths: list[int] = []
    for norm in norms:
        own = next((len(p) for p in norm.parameters()), width)
        widths.append(of_heads.pop(0) if own == head_width != width and of_heads else own)
    return Layer(
        needs_input_gradient=needs_input_gradient,
        attention_width=heads,
        attention_in=attention_in,
        attention_out=attention_out,
        norm_widths=tuple(widths),
        is_norm_trained=any(p.requires_grad for m in norms for p in m.parameters()),
        has_layer_norms=any(isinstance(m, nn.LayerNorm) for m in norms),
        ffn_in=ffn_in,
        ffn_out=ffn_out,
        num_activation_inputs=_activation_inputs(ffn),
        experts=_read_experts(ffn) if isinstance(ffn, ExpandedFFN) else None,
        weights=_count(layer, layer.parameters(), new),
    )


def _read_experts(ffn: ExpandedFFN) -> Experts:
    expansions = ffn.expansions
    num_new = sum(len(bank.weight_in) for bank in ffn.banks)
    return Experts(
        num_new=num_new,
        num_banks=len(ffn.banks),
        num_competing=ffn.num_competing,
        top_k=ffn.top_k,
        is_trained=any(bank.weight_in.requires_grad for bank in ffn.banks),
        is_router_trained=any(e.router.weight.requires_grad for e in expansions),
        has_gate=ffn.gate is not None,
        is_gate_trained=isinstance(ffn.gate, SigmoidGate) and ffn.gate.weight.requires_grad,
        original_rows=1.0 if ffn.gate else ffn.top_k * (1 - num_new / ffn.num_competing),
    )


def _activation_inputs(ffn: nn.Module) -> int:
    """Return how many tensors the activation function keeps for its backward pass."""
    names = {type(module).__name__ for module in ffn.modules()}
    return 4 if names & _MANY_STEPS else 1


def _projections(module: nn.Module) -> tuple[Projection, ...]:
    """Return the projections of a module in the order of its submodules."""
    linears = [inner for inner in module.modules() if isinstance(inner, nn.Linear | Conv1D)]
    columns = {
        id(m.base): m.columns.weight
        for m in module.modules()
        if isinstance(m, FreeColumnProjection)
    }
    own = {id(inner): columns.get(id(inner), inner.weight) for inner in linears}
    return tuple(
        Projection(
            width_in=width_in,
            width_out=width_out,
            is_trained=own[id(inner)].requires_grad,
            is_adapter=group_of(inner) in _ADAPTERS,
            trained_share=own[id(inner)].numel() / max(1, inner.weight.numel()),
        )
        for inner in linears
        for width_out, width_in in [projection_shape(inner)]
    )


def _split(
    projections: Iterable[Projection],
) -> tuple[tuple[Projection, ...], tuple[Projection, ...]]:
    """Split into the projections before the base's last one, and that one with its adapters."""
    listed = tuple(projections)
    last = max(place for place, p in enumerate(listed) if not p.is_adapter)
    return listed[:last], listed[last:]


def _head_width(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _count(module: nn.Module, parameters: Iterable[nn.Parameter], new: set[int]) -> Weights:
    """Count the parameters of a module.

    Args:
        module: What they belong to.
        parameters: Those to count.
        new: Ids of parameters of new modules, which are in float32 whether they train or not.
    """
    experts = {id(p) for m in module.modules() if isinstance(m, ExpertBank) for p in m.parameters()}
    listed = list(parameters)
    trained = [p for p in listed if p.requires_grad]
    frozen = [p for p in listed if not p.requires_grad]
    return Weights(
        trained=sum(p.numel() for p in trained),
        frozen=sum(p.numel() for p in frozen if id(p) not in new),
        frozen_float32=sum(p.numel() for p in frozen if id(p) in new),
        trained_experts=sum(p.numel() for p in trained if id(p) in experts),
        frozen_experts=sum(p.numel() for p in frozen if id(p) in experts),
        largest=max((p.numel() for p in trained), default=0),
    )
