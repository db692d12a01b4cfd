"""What of a grafted model decides its cost: widths, matrices, what trains.

Read off the modules, which may be without weights. D = model width, F = FFN width, K = experts that
a token meets, E = experts that compete.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from langraft.families.sites import decoder_layers, projection_shape
from langraft.graft.expanded_ffn import ExpandedFFN
from langraft.graft.experts import ExpertBank
from langraft.graft.freeze import group_of
from langraft.graft.gate import SigmoidGate
from langraft.graft.new_rows import ExtendedHead
from langraft.graft.token_rows import RareRowHead
from langraft.train.quantize import frozen_projections

_ADAPTERS = ("adapters", "earlier")
_MANY_STEPS = {"NewGELUActivation", "FastGELUActivation", "BloomGelu"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A matrix that multiplies tokens; a token costs two operations for each of its weights."""

    width_in: int
    width_out: int
    is_trained: bool
    is_adapter: bool = False

    @property
    def num_weights(self) -> int:
        """Entries of the matrix."""
        return self.width_in * self.width_out


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """What stands around the original FFN of a layer.

    Attributes:
        num_new: Of all expansions.
        num_banks: Expansions.
        num_competing: E, the original among them unless it stands beside the router.
        top_k: K.
        is_trained: Whether new experts train.
        is_router_trained: Whether a router trains.
        has_gate: Whether the original stands beside the router, behind a gate.
        is_gate_trained: Whether that gate trains.
    """

    num_new: int
    num_banks: int
    num_competing: int
    top_k: int
    is_trained: bool
    is_router_trained: bool
    has_gate: bool
    is_gate_trained: bool

    @property
    def new_rows(self) -> float:
        """Rows that a token makes for new experts, when all that compete are met alike."""
        return self.top_k * self.num_new / self.num_competing

    @property
    def original_rows(self) -> float:
        """Rows that it makes for the original."""
        return 1.0 if self.has_gate else self.top_k - self.new_rows

    def rows_held(self, *, is_cpu: bool) -> tuple[float, float]:
        """Return the rows that are held for new experts and for the original, of each token.

        Accelerators do not ask how many there are: they hold as many as there might be.
        """
        if is_cpu or self.num_banks > 1:
            return self.new_rows, self.original_rows
        return float(self.top_k), 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Numbers of parameters.

    Attributes:
        trained: In float32.
        frozen: In the precision of training.
        frozen_float32: Frozen, but in float32, as are new modules that train in another stage.
        trained_experts: Of ``trained``, new experts.
        frozen_experts: Of ``frozen_float32``, new experts.
        largest: The largest trained parameter.
    """

    trained: int = 0
    frozen: int = 0
    frozen_float32: int = 0
    trained_experts: int = 0
    frozen_experts: int = 0
    largest: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.trained + self.frozen + self.frozen_float32

    @property
    def experts(self) -> int:
        """New experts, which expert parallelism shares out."""
        return self.trained_experts + self.frozen_experts


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A decoder layer.

    Attributes:
        attention_width: Of all heads' values together.
        attention_in: Projections to queries, keys and values, and adapters beside them.
        attention_out: The projection behind attention, and adapters beside it.
        norm_widths: Of what each norm reads.
        is_norm_trained: Whether the norms train.
        has_layer_norms: Whether they subtract the mean too, in one kernel.
        ffn_in: Inner projections of the original FFN, and adapters beside them.
        ffn_out: Its outer projection, and adapters beside it.
        num_activation_inputs: How many tensors of width F the activation keeps.
        experts: None in a plain layer.
        weights: Of the layer.
    """

    attention_width: int
    attention_in: tuple[Product, ...]
    attention_out: tuple[Product, ...]
    norm_widths: tuple[int, ...]
    is_norm_trained: bool
    has_layer_norms: bool
    ffn_in: tuple[Product, ...]
    ffn_out: tuple[Product, ...]
    num_activation_inputs: int
    experts: Experts | None
    weights: Weights

    @property
    def model_width(self) -> int:
        """D."""
        return self.ffn_in[0].width_in

    @property
    def ffn_width(self) -> int:
        """F."""
        return self.ffn_out[0].width_in

    @property
    def inner_width(self) -> int:
        """2F with a gate, F without: what the inner projections write."""
        return sum(p.width_out for p in self.ffn_in if not p.is_adapter)

    @property
    def is_gated(self) -> bool:
        """Whether the inner product has a gate."""
        return self.inner_width == 2 * self.ffn_width

    @property
    def is_attention_trained(self) -> bool:
        """Whether anything up to the attention's output trains."""
        products = (*self.attention_in, *self.attention_out)
        return self.is_norm_trained or any(p.is_trained for p in products)

    @property
    def is_ffn_trained(self) -> bool:
        """Whether anything in the FFN, original or expanded, trains."""
        around, products = self.experts, (*self.ffn_in, *self.ffn_out)
        return any(p.is_trained for p in products) or (
            around is not None
            and (around.is_trained or around.is_router_trained or around.is_gate_trained)
        )

    @property
    def is_trained(self) -> bool:
        """Whether anything that a gradient must come back to trains here."""
        return self.is_attention_trained or self.is_ffn_trained


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """A grafted model as one stage trains it.

    Attributes:
        layers: In the order of the forward pass.
        head: The output matrix, and adapters beside it.
        vocab_size: Logits of a token.
        is_embedding_trained: Whether gradients reach the first layer's input.
        weights: Of the whole model.
        outside: Of what is in no decoder layer: embeddings, head, last norm.
        codable: Frozen weights that ``quantize_frozen`` holds in codes.
    """

    layers: tuple[Layer, ...]
    head: tuple[Product, ...]
    vocab_size: int
    is_embedding_trained: bool
    weights: Weights
    outside: Weights
    codable: int

    @property
    def model_width(self) -> int:
        """D."""
        return self.layers[0].model_width

    @property
    def is_head_trained(self) -> bool:
        """Whether the output matrix, or an addition to it, trains."""
        return any(p.is_trained for p in self.head)

    @property
    def reaches(self) -> list[bool]:
        """Whether the gradient of a layer's input is computed, for each layer."""
        wanted, found = self.is_embedding_trained, list[bool]()
        for layer in self.layers:
            found.append(wanted)
            wanted = wanted or layer.is_trained
        return found


def read_anatomy(model: Any) -> Anatomy:
    """Read a grafted model whose parameters say by ``requires_grad`` what trains."""
    _, modules = decoder_layers(model)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    inside = {id(p) for layer in modules for p in layer.parameters()}
    new = {id(p) for m in model.modules() if group_of(m) for p in m.parameters(recurse=False)}
    outside = [p for p in model.parameters() if id(p) not in inside]
    head_width = _head_width(model.config)
    return Anatomy(
        layers=tuple(_read_layer(layer, head_width, new) for layer in modules),
        head=_read_head(head),
        vocab_size=model.config.get_text_config().vocab_size,
        is_embedding_trained=any(p.requires_grad for p in embedding.parameters()),
        weights=_count(model, model.parameters(), new),
        outside=_count(model, outside, new),
        codable=sum(each.weight.numel() for each in frozen_projections(model).values()),
    )


def _read_head(head: nn.Module) -> tuple[Product, ...]:
    """Read the output matrix; row additions are put into it, so their gradient is all of it."""
    products = _products(head)
    for module in head.modules():
        if isinstance(module, RareRowHead) and module.deltas.delta.requires_grad:
            products = tuple(p if p.is_adapter else replace(p, is_trained=True) for p in products)
        elif isinstance(module, ExtendedHead):
            rows = module.new_rows.weight
            new = Product(
                width_in=rows.shape[1], width_out=rows.shape[0], is_trained=rows.requires_grad
            )
            products = (*products, new)
    return products


def _read_layer(layer: nn.Module, head_width: int, new: set[int]) -> Layer:
    """Tell the parts of a layer apart: its FFN is the last child that has projections."""
    children = [(child, _products(_original(child))) for child in layer.children()]
    *_, (ffn, ffn_products) = (found for found in children if found[1])
    attention = [p for child, products in children if child is not ffn for p in products]
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
    return Experts(
        num_new=sum(len(bank.weight_in) for bank in ffn.banks),
        num_banks=len(ffn.banks),
        num_competing=ffn.num_competing,
        top_k=ffn.top_k,
        is_trained=any(bank.weight_in.requires_grad for bank in ffn.banks),
        is_router_trained=any(e.router.weight.requires_grad for e in expansions),
        has_gate=ffn.gate is not None,
        is_gate_trained=isinstance(ffn.gate, SigmoidGate) and ffn.gate.weight.requires_grad,
    )


def _activation_inputs(ffn: nn.Module) -> int:
    """Return what the activation keeps: its input, or all parts of a formula of many steps."""
    names = {type(module).__name__ for module in ffn.modules()}
    return 4 if names & _MANY_STEPS else 1


def _original(module: nn.Module) -> nn.Module:
    return module.original if isinstance(module, ExpandedFFN) else module


def _products(module: nn.Module) -> tuple[Product, ...]:
    """Return the projections of a module in the order in which it holds them."""
    found: list[Product] = []
    for inner in module.modules():
        if isinstance(inner, nn.Linear | Conv1D):
            width_out, width_in = projection_shape(inner)
            found.append(
                Product(
                    width_in=width_in,
                    width_out=width_out,
                    is_trained=inner.weight.requires_grad,
                    is_adapter=group_of(inner) in _ADAPTERS,
                )
            )
    return tuple(found)


def _split(products: Iterable[Product]) -> tuple[tuple[Product, ...], tuple[Product, ...]]:
    """Cut before the last projection of the base: what comes before it, it and its adapters."""
    listed = tuple(products)
    last = max(place for place, p in enumerate(listed) if not p.is_adapter)
    return listed[:last], listed[last:]


def _head_width(config: Any) -> int:
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def _count(module: nn.Module, parameters: Iterable[nn.Parameter], new: set[int]) -> Weights:
    """Count parameters; those of new modules are in float32 whether they train or not."""
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
