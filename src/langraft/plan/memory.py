"""Peak memory of one device in a training step, by part.

The peak is in the step's last micro-batch, with gradients of earlier ones: either while the loss is
computed, with all activations still kept for the backward pass, or right after, in the backward
pass of the last layer. The optimizer updates in place.

D = model width, F = FFN width, K = experts that a token is sent to, S = tokens of a row.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from langraft.core.settings.training import Training
from langraft.plan.hardware import Hardware
from langraft.plan.model_shape import Layer, ModelShape, Weights
from langraft.train.compute.chunked_loss import chunk_tokens
from langraft.train.processes.gradient_sync import fits_between_micro_batches

_QUANTIZED_BYTES = {"int8": 1 + 4 / 256, "int4": 0.5 + 1 / 64}  # a scale per 256 or 64 weights
_MOMENT_BYTES = {"adamw": 8.0, "adamw_8bit": 2.0, "paged_adamw_8bit": 2.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of one device.

    Attributes:
        frozen: Weights that do not train.
        trained: Weights that train, float32.
        gradients: Gradients of these, float32; in a step of one micro-batch without those that
            take the place of freed activations.
        optimizer: The optimizer's two moments.
        whole_layers: Under sharding: what is gathered whole, two layers and all outside the layers.
        casts: On one device: copies of trained weights in half precision, which autocast caches;
            those of experts are made in each pass.
        activations: What layers keep for the backward pass of one micro-batch.
        working: The layer in its backward pass: what it recomputes, and its gradients.
        head: One chunk of logits with its gradient, and the gradient of the output matrix where it
            trains.
    """

    frozen: float
    trained: float
    gradients: float
    optimizer: float
    whole_layers: float
    casts: float
    activations: float
    working: float
    head: float

    @property
    def peak(self) -> int:
        """Peak memory, in bytes."""
        always = self.frozen + self.trained + self.gradients + self.optimizer
        in_pass = self.casts + self.whole_layers + self.activations
        return round(always + in_pass + max(self.working, self.head))

    def to_json(self) -> dict[str, int]:
        """Return the parts and the peak, in bytes."""
        return {part: round(size) for part, size in asdict(self).items()} | {"peak": self.peak}


def plan_memory(shape: ModelShape, training: Training, hardware: Hardware) -> Memory:
    """Return the memory of each device while a stage trains."""
    size, weights = _bytes_per_value(training), shape.weights
    shards = hardware.num_shards(training.mesh)
    is_sharded = hardware.num_devices > 1
    frozen = weights.frozen * size + weights.frozen_float32 * 4
    if training.quantize_frozen is not None:
        frozen += shape.quantizable * (_QUANTIZED_BYTES[training.quantize_frozen] - size)
    tokens = training.micro_rows * training.sequence_length
    kept = [tokens * saved_bytes(layer, training, hardware) for layer in shape.layers]
    recomputed, activations = 0.0, sum(kept)
    if training.activation_checkpointing:
        behind = [layer for layer in shape.layers if layer.has_backward]
        activations, recomputed = tokens * shape.model_width * size * len(behind), max(kept)
        if training.activation_checkpointing == "selective":
            activations += tokens * size * sum(_kept_width(layer, hardware) for layer in behind)
    working = recomputed + _backward_bytes(shape, training, hardware)
    head = _loss_bytes(shape, tokens, hardware, size)
    gradients = weights.trained * 4 / shards
    if training.batch_rows == training.micro_rows * hardware.num_devices:
        # One micro-batch: gradients appear as activations are freed. The peak has either all
        # activations, or all gradients but the last, or all gradients and nothing in computation.
        late = gradients - _num_last_gradients(shape) * 4 / shards
        gradients = max(0.0, late - activations, gradients - activations - max(working, head))
    last = tokens * shape.model_width * (4 + 2 * size)  # the last norm and its output
    return Memory(
        frozen=frozen / shards,
        trained=weights.trained * 4 / shards,
        gradients=gradients,
        optimizer=weights.trained * _MOMENT_BYTES[training.optimizer] / shards,
        whole_layers=_gathered_bytes(shape, training, hardware) if is_sharded else 0,
        casts=(weights.trained - weights.trained_experts) * 2 * (size == 2 and not is_sharded),
        activations=activations + last,
        working=working,
        head=head,
    )


def saved_bytes(layer: Layer, training: Training, hardware: Hardware) -> float:
    """Return the activations that a layer keeps, in bytes a token, without checkpointing.

    A frozen matrix keeps nothing: the gradient of its input needs its weights alone.
    """
    size = _bytes_per_value(training)
    width, ffn = layer.model_width, layer.ffn_width
    below, behind = layer.needs_attention_gradient, layer.needs_ffn_gradient
    has_own_copies = size == 2  # autocast casts the input for each trained matrix separately
    total = 0.0
    if below:
        total += 4 * sum(layer.norm_widths)  # norms: their input, float32
    if layer.is_norm_trained and not layer.has_layer_norms:
        total += 4 * width * 2  # norms: their normalised input
    if any(p.is_trained for p in layer.attention_in):  # projections: their input
        count = sum(p.is_trained and p.width_in == width for p in layer.attention_in)
        total += size * width * (count if has_own_copies else 1)
    if below or any(p.is_trained for p in layer.attention_in):
        total += 4 * size * layer.attention_width  # attention: queries, keys, values, output
    if any(p.is_trained for p in layer.attention_out):
        total += size * layer.attention_width  # output projection: its input
    inner = behind or any(p.is_trained for p in layer.ffn_in)
    experts = layer.experts
    new_rows, rows = _rows_held(layer, hardware)
    if any(p.is_trained for p in layer.ffn_in):  # inner projections: their input
        count = sum(p.is_trained and p.width_in == width for p in layer.ffn_in)
        total += rows * size * width * (count if has_own_copies else 1)
    if inner:
        total += rows * size * ffn * layer.num_activation_inputs  # activation: its input
        total += rows * size * 2 * ffn * layer.is_gated  # gate: both factors
    if any(p.is_trained for p in layer.ffn_out):
        total += rows * size * ffn  # outer projection: its input
    if experts is None:
        return total
    if behind or experts.is_router_trained:
        total += 4 * width  # router: its input, float32
    sorted_rows = new_rows if experts.has_gate else rows + new_rows
    if experts.is_trained:
        total += sorted_rows * size * width  # experts: their input, all rows in one tensor
    if behind or experts.is_trained:
        total += new_rows * size * layer.inner_width  # experts: the inner product
    total += sorted_rows * size * width  # sum over experts: their outputs
    total += size * width if experts.is_gate_trained else 0  # gate: its input
    return total


def _bytes_per_value(training: Training) -> int:
    return 4 if training.dtype == "float32" else 2


def _rows_held(layer: Layer, hardware: Hardware) -> tuple[float, float]:
    """Return the rows allocated per token for new experts and for the original FFN."""
    return layer.experts.rows_held(is_cpu=hardware.is_cpu) if layer.experts else (0.0, 1.0)


def _kept_width(layer: Layer, hardware: Hardware) -> float:
    """Return the width of the outputs that ``selective`` keeps: attention, narrow projections."""
    projections = (*layer.attention_in, *layer.attention_out)
    narrow = sum(p.width_out for p in projections if p.width_out <= p.width_in)
    return layer.attention_width + narrow + sum(_rows_held(layer, hardware)) * layer.model_width


def _backward_bytes(shape: ModelShape, training: Training, hardware: Hardware) -> float:
    """Return what one layer's backward pass allocates beside the activations kept for it."""
    tokens, size = training.micro_rows * training.sequence_length, _bytes_per_value(training)
    worst = 0.0
    for layer in shape.layers:
        experts, weights = layer.experts, layer.weights
        inner = layer.ffn_width + layer.inner_width  # gradients of the activation's output, input
        weight = weights.largest * (4 if size == 4 else 6)
        if experts:
            new_rows, rows = _rows_held(layer, hardware)
            at_once = new_rows / experts.num_new if hardware.is_cpu else new_rows
            # Beside gradients an expert's backward pass recomputes its activation.
            inner = max(rows * inner, at_once * (inner + 2 * layer.ffn_width))
            # The gradients of a whole bank, and its weights cast to half precision.
            weight = weights.trained_experts * 4 + weights.experts * 2 * (size == 2)
        is_sharded = hardware.num_devices > 1  # then weights count among the gathered layers
        worst = max(worst, tokens * size * inner + weight * (not is_sharded))
    return worst


def _loss_bytes(shape: ModelShape, tokens: int, hardware: Hardware, size: int) -> float:
    """Return one chunk's logits and softmax with gradient, and the output matrix's gradient.

    Where the base reads along, its logits of the chunk too, with the logarithms of its
    probabilities, these themselves and a copy of the graft's: a chunk may be of such text alone.
    """
    at_once = min(tokens, chunk_tokens(shape.vocab_size, is_cpu=hardware.is_cpu))
    trained = sum(p.num_trained for p in shape.head)
    a_logit = 8 + (12 + size) * (shape.retained_share > 0)
    return at_once * shape.vocab_size * a_logit + trained * (4 + size)


def _num_last_gradients(shape: ModelShape) -> float:
    """Return the trained weights of first layer and embeddings: their gradients come last."""
    in_head = sum(p.num_trained for p in shape.head)
    return shape.layers[0].weights.trained + max(0, shape.outside.trained - in_head)


def plan_gradient_sync(
    shape: ModelShape, training: Training, hardware: Hardware
) -> tuple[bool, bool]:
    """Return whether gradients, and whether weights, stay whole between micro-batches of a step.

    Training decides by the same rule.
    """
    if hardware.accelerator is None or hardware.num_devices == 1:
        return False, False
    weights = shape.weights
    shards = hardware.num_shards(training.mesh)
    stored = weights.frozen * _bytes_per_value(training)
    stored += (weights.frozen_float32 + weights.trained) * 4
    elsewhere = 1 - 1 / training.mesh.expert  # share of the experts on other devices
    return fits_between_micro_batches(
        free_bytes=hardware.usable_bytes - stored / shards,
        num_own_trained=weights.trained / shards,
        gradient_bytes=4 * (weights.trained - weights.trained_experts * elsewhere),
        weight_bytes=stored - 4 * weights.experts * elsewhere,
    )


def _gathered_bytes(shape: ModelShape, training: Training, hardware: Hardware) -> float:
    """Return what FSDP holds whole: everything, or two layers and what is outside the layers."""
    size = _bytes_per_value(training)
    are_gradients_kept, are_weights_kept = plan_gradient_sync(shape, training, hardware)
    elsewhere = 1 - 1 / training.mesh.expert  # share of the experts on other devices

    def weights_of(part: Weights) -> float:
        return size * (part.total - part.experts * elsewhere)

    def trained_of(part: Weights) -> float:
        return part.trained - part.trained_experts * elsewhere

    layer = max((layer.weights for layer in shape.layers), key=lambda each: each.total)
    gathered = 2 * weights_of(layer) + weights_of(shape.outside)
    if are_weights_kept:
        gathered = weights_of(shape.weights)
    summed = (size + 4) * trained_of(layer)
    return gathered + (summed + 4 * trained_of(shape.weights) if are_gradients_kept else summed)
