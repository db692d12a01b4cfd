"""The numbers of a grafted model that decide what it costs: widths, matrices, what trains.

``read_shape.py`` reads them off a model. D = model width, F = FFN width, E = experts that the
router chooses from, K = experts that a token is sent to.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A weight matrix that every token is multiplied with: two operations for each weight.

    Attributes:
        width_in: Of the input.
        width_out: Of the output.
        is_trained: Whether it trains, or some of its columns or rows.
        is_adapter: Whether it is an addition to a projection of the base.
        trained_share: Of its columns or rows; 1 where all of it trains or nothing.
    """

    width_in: int
    width_out: int
    is_trained: bool
    is_adapter: bool = False
    trained_share: float = 1.0

    @property
    def num_weights(self) -> int:
        """Entries of the matrix."""
        return self.width_in * self.width_out

    @property
    def num_trained(self) -> float:
        """Entries that get a gradient."""
        return self.num_weights * self.trained_share * self.is_trained


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """The experts of a layer, beside its original FFN.

    Attributes:
        num_new: New experts of all expansions together.
        num_banks: Number of expansions.
        num_competing: E, the original FFN included unless it has a gate instead.
        top_k: K.
        is_trained: Whether new experts train.
        is_router_trained: Whether a router trains.
        has_gate: Whether a gate weighs the original FFN instead of the router.
        is_gate_trained: Whether that gate trains.
        original_rows: Rows a token adds to the input of the original FFN, beside a gate 1.
    """

    num_new: int
    num_banks: int
    num_competing: int
    top_k: int
    is_trained: bool
    is_router_trained: bool
    has_gate: bool
    is_gate_trained: bool
    original_rows: float

    @property
    def new_rows(self) -> float:
        """Rows a token adds to the input of new experts."""
        return self.top_k - self.original_rows * (not self.has_gate)

    def rows_held(self, *, is_cpu: bool) -> tuple[float, float]:
        """Return the rows allocated per token for new experts and for the original FFN.

        On accelerators the host does not wait for the number of rows: it allocates the most that
        there can be.
        """
        if is_cpu or self.num_banks > 1:
            return self.new_rows, self.original_rows
        return float(self.top_k), 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Numbers of parameters.

    Attributes:
        trained: Trained, in float32.
        frozen: Frozen, in the precision of training.
        frozen_float32: Frozen, but in float32: new modules that train in another stage.
        trained_experts: Those of ``trained`` that belong to new experts.
        frozen_experts: Those of ``frozen_float32`` that belong to new experts.
        largest: Size of the largest trained parameter.
    """

    trained: int = 0
    frozen: int = 0
    frozen_float32: int = 0
    trained_experts: int = 0
    frozen_experts: int = 0
    largest: int = 0

    @property
    def total(self) -> int:
        """All parameters."""
        return self.trained + self.frozen + self.frozen_float32

    @property
    def experts(self) -> int:
        """Parameters of new experts, which expert parallelism divides among processes."""
        return self.trained_experts + self.frozen_experts


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A decoder layer.

    Attributes:
        needs_input_gradient: Whether the backward pass computes the gradient of its input.
        attention_width: Width of the values of all heads together.
        attention_in: Projections to queries, keys and values, and their adapters.
        attention_out: Output projection of the attention, and its adapters.
        norm_widths: Input width of each norm.
        is_norm_trained: Whether the norms train.
        has_layer_norms: Whether they are LayerNorm (one fused kernel) rather than RMSNorm.
        ffn_in: Inner projections of the original FFN, and their adapters.
        ffn_out: Its outer projection, and its adapters.
        num_activation_inputs: How many tensors of width F the activation function keeps.
        experts: None in a layer without new experts.
        weights: Parameters of the layer.
    """

    needs_input_gradient: bool
    attention_width: int
    attention_in: tuple[Projection, ...]
    attention_out: tuple[Projection, ...]
    norm_widths: tuple[int, ...]
    is_norm_trained: bool
    has_layer_norms: bool
    ffn_in: tuple[Projection, ...]
    ffn_out: tuple[Projection, ...]
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
        """Output width of the inner projections: 2F in a gated FFN, else F."""
        return sum(p.width_out for p in self.ffn_in if not p.is_adapter)

    @property
    def is_gated(self) -> bool:
        """Whether the FFN is gated (SwiGLU and the like)."""
        return self.inner_width == 2 * self.ffn_width

    @property
    def needs_attention_gradient(self) -> bool:
        """Whether the backward pass computes the gradient of the attention's input."""
        return self.needs_input_gradient or self.is_norm_trained

    @property
    def needs_ffn_gradient(self) -> bool:
        """Whether the backward pass computes the gradient of the FFN's input."""
        return self.needs_input_gradient or self.is_attention_trained

    @property
    def has_backward(self) -> bool:
        """Whether the layer has a backward pass at all."""
        return self.needs_input_gradient or self.is_trained

    @property
    def is_attention_trained(self) -> bool:
        """Whether a norm or anything in the attention trains."""
        projections = (*self.attention_in, *self.attention_out)
        return self.is_norm_trained or any(p.is_trained for p in projections)

    @property
    def is_ffn_trained(self) -> bool:
        """Whether anything in the FFN, original or expanded, trains."""
        experts, projections = self.experts, (*self.ffn_in, *self.ffn_out)
        return any(p.is_trained for p in projections) or (
            experts is not None
            and (experts.is_trained or experts.is_router_trained or experts.is_gate_trained)
        )

    @property
    def is_trained(self) -> bool:
        """Whether anything in the layer trains, so that the backward pass must reach it."""
        return self.is_attention_trained or self.is_ffn_trained


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The shape of a grafted model, as one stage trains it.

    Attributes:
        layers: In the order of the forward pass.
        head: The output matrix, and its adapters.
        vocab_size: Logits of a token.
        weights: Parameters of the whole model.
        outside: Parameters outside the decoder layers: embeddings, head, last norm.
        quantizable: Number of frozen weights that ``quantize_frozen`` stores in 8 or 4 bits.
        retained_share: Share of the stage's tokens that the base reads too, for the side loss
            ``retain``, 0..1.
    """

    layers: tuple[Layer, ...]
    head: tuple[Projection, ...]
    vocab_size: int
    weights: Weights
    outside: Weights
    quantizable: int
    retained_share: float = 0.0

    @property
    def model_width(self) -> int:
        """D."""
        return self.layers[0].model_width
