"""Memory of one device at the worst moment of a step, by part.

That moment is in the last pass over a micro-batch, with gradients of those before: when the forward
pass ends, the loss is taken, and everything is still kept for the backward pass, or a little later,
when the last layer is computed backward. The optimizer updates in place.

D = model width, F = FFN width, K = experts that a token meets, S = tokens of a row.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from langraft.core.training import Training
from langraft.recipes.anatomy import Anatomy, Layer, Weights
from langraft.recipes.machine import Machine

_LOGITS_AT_ONCE = {True: 2**22, False: 2**27}  # train/loss.py: on CPUs, on accelerators
_CODE_BYTES = {"int8": 1 + 4 / 256, "int4": 0.5 + 1 / 64}  # with scales, of 256 and 64 weights
_MOMENT_BYTES = {"adamw": 8.0, "adamw_8bit": 2.0, "paged_adamw_8bit": 2.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of one device.

    Attributes:
        frozen: Weights that do not train.
        trained: Weights that train, float32.
        gradients: Of these, float32; of a step with one micro-batch without those that come as
            activations go.
        optimizer: Its two moments.
        whole_layers: Under sharding: what stands whole, two layers, and all outside the layers.
        casts: On one device: copies of trained weights in the precision of matrix products, which
            autocast keeps; those of experts are made anew for each pass.
        activations: What layers keep for the backward pass of one micro-batch.
        working: The layer that is being computed backward: what it recomputes, its gradients.
        head: The chunk of logits that the loss has at once, its gradient, and those of the output
            matrix where it trains.
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
        """The most that is held at once."""
        always = self.frozen + self.trained + self.gradients + self.optimizer
        in_pass = self.casts + self.whole_layers + self.activations
        return round(always + in_pass + max(self.working, self.head))

    def to_json(self) -> dict[str, int]:
        """Return the parts and the peak, in bytes."""
        return {part: round(size) for part, size in asdict(self).items()} | {"peak": self.peak}


def plan_memory(anatomy: Anatomy, training: Training, machine: Machine) -> Memory:
    """Return the memory of each of a machine's devices."""
    size = 4 if training.dtype == "float32" else 2
    mesh, weights = training.mesh, anatomy.weights
    shards = max(1, machine.num_devices // mesh.replicate)
    is_sharded = machine.num_devices > 1
    frozen = weights.frozen * size + weights.frozen_float32 * 4
    if training.quantize_frozen is not None:
        frozen += anatomy.codable * (_CODE_BYTES[training.quantize_frozen] - size)
    tokens = training.micro_rows * training.sequence_length
    pairs = list(zip(anatomy.layers, anatomy.reaches, strict=True))
    kept = [
        tokens * saved_bytes(layer, training, machine, reaches=reaches) for layer, reaches in pairs
    ]
    recomputed, activations = 0.0, sum(kept)
    if training.activation_checkpointing:
        behind = [layer for layer, reaches in pairs if reaches or layer.is_trained]
        activations, recomputed = tokens * anatomy.model_width * size * len(behind), max(kept)
        if training.activation_checkpointing == "selective":
            activations += tokens * size * sum(_results(layer, machine) for layer in behind)
    working = recomputed + _working(anatomy, training, machine, size)
    head = _head(anatomy, tokens, machine, size)
    gradients = weights.trained * 4 / shards
    if training.batch_rows == training.micro_rows * machine.num_devices:
        # Either all activations, or all gradients but the first layer's, or those, and no pass.
        late = gradients - _first_weights(anatomy) * 4 / shards
        gradients = max(0.0, late - activations, gradients - activations - max(working, head))
    last = tokens * anatomy.model_width * (4 + 2 * size)  # the last norm and its output
    return Memory(
        frozen=frozen / shards,
        trained=weights.trained * 4 / shards,
        gradients=gradients,
        optimizer=weights.trained * _MOMENT_BYTES[training.optimizer] / shards,
        whole_layers=_whole(anatomy, training, machine, size) if is_sharded else 0,
        casts=(weights.trained - weights.trained_experts) * 2 * (size == 2 and not is_sharded),
        activations=activations + last,
        working=working,
        head=head,
    )


def saved_bytes(layer: Layer, training: Training, machine: Machine, *, reaches: bool) -> float:
    """Return what a layer keeps for its backward pass, in bytes a token, without checkpointing.

    A frozen matrix keeps nothing: the gradient of its input needs its weights alone.

    Args:
        layer: The layer.
        training: Precision and length of rows.
        machine: Where it runs.
        reaches: Whether the gradient of the layer's input is wanted.
    """
    size = 4 if training.dtype == "float32" else 2
    width, ffn = layer.model_width, layer.ffn_width
    below, behind = reaches or layer.is_norm_trained, reaches or layer.is_attention_trained
    own_copies = size == 2  # autocast casts the input of each trained matrix by itself
    total = 0.0
    if below:
        total += 4 * sum(layer.norm_widths)  # norms: their input, float32
    if layer.is_norm_trained and not layer.has_layer_norms:
        total += 4 * width * 2  # norms: their normalised input
    if any(p.is_trained for p in layer.attention_in):  # projections: their input
        count = sum(p.is_trained and p.width_in == width for p in layer.attention_in)
        total += size * width * (count if own_copies else 1)
    if below or any(p.is_trained for p in layer.attention_in):
        total += 4 * size * layer.attention_width  # attention: queries, keys, values, output
    if any(p.is_trained for p in layer.attention_out):
        total += size * layer.attention_width  # output projection: its input
    inner = behind or any(p.is_trained for p in layer.ffn_in)
    around = layer.experts
    new_rows, rows = around.rows_held(is_cpu=machine.is_cpu) if around else (0.0, 1.0)
    if any(p.is_trained for p in layer.ffn_in):  # inner projections: their input
        count = sum(p.is_trained and p.width_in == width for p in layer.ffn_in)
        total += rows * size * width * (count if own_copies else 1)
    if inner:
        total += rows * size * ffn * layer.num_activation_inputs  # activation: its input
        total += rows * size * 2 * ffn * layer.is_gated  # gate: both factors
    if any(p.is_trained for p in layer.ffn_out):
        total += rows * size * ffn  # outer projection: its input
    if around is None:
        return total
    if behind or around.is_router_trained:
        total += 4 * width  # router: its input, float32
    sorted_rows = new_rows if around.has_gate else rows + new_rows
    if around.is_trained:
        total += sorted_rows * size * width  # experts: their input, all rows in one tensor
    if behind or around.is_trained:
        total += new_rows * size * layer.inner_width  # experts: the inner product
    total += sorted_rows * size * width  # sum over experts: their outputs
    total += size * width if around.is_gate_trained else 0  # gate: what it weighs
    return total


def _results(layer: Layer, machine: Machine) -> float:
    """Return the width of what attention and narrow products of a layer write: what is kept."""
    products = (*layer.attention_in, *layer.attention_out)
    total = layer.attention_width + sum(p.width_out for p in products if p.width_out <= p.width_in)
    around = layer.experts
    new_rows, rows = around.rows_held(is_cpu=machine.is_cpu) if around else (0.0, 1.0)
    return total + (rows + new_rows) * layer.model_width


def _working(anatomy: Anatomy, training: Training, machine: Machine, size: int) -> float:
    """Return what one layer's backward pass holds at once beside what was kept for it."""
    tokens = training.micro_rows * training.sequence_length
    worst = 0.0
    for layer in anatomy.layers:
        around = layer.experts
        inner = layer.ffn_width + layer.inner_width  # gradients of what the activation wrote, read
        if around:
            new_rows, rows = around.rows_held(is_cpu=machine.is_cpu)
            at_once = new_rows / around.num_new if machine.is_cpu else new_rows
            # Beside gradients an expert's backward pass makes its activation again.
            inner = max(rows * inner, at_once * (inner + 2 * layer.ffn_width))
        weight = layer.weights.largest * (4 if size == 4 else 6)
        if around:  # gradients of a whole bank, and its weights in half precision, made anew
            experts = layer.weights
            weight = experts.trained_experts * 4 + experts.experts * 2 * (size == 2)
        is_sharded = machine.num_devices > 1  # then they count among what stands whole
        worst = max(worst, tokens * size * inner + weight * (not is_sharded))
    return worst


def _head(anatomy: Anatomy, tokens: int, machine: Machine, size: int) -> float:
    """Return a chunk's logits, their softmax in float32 and its gradient, and what trains here."""
    logits = min(tokens * anatomy.vocab_size, _LOGITS_AT_ONCE[machine.is_cpu])
    chunk = logits * 8
    trained = sum(p.num_weights for p in anatomy.head if p.is_trained)
    return chunk + trained * (4 + size)


def _first_weights(anatomy: Anatomy) -> int:
    """Return what trains in the first layer and the embeddings, whose gradients come last."""
    in_head = sum(p.num_weights for p in anatomy.head if p.is_trained)
    return anatomy.layers[0].weights.trained + max(0, anatomy.outside.trained - in_head)


def find_sharing(anatomy: Anatomy, training: Training, machine: Machine) -> tuple[bool, bool]:
    """Say whether gradients and weights stay whole between the micro-batches of a step.

    As ``train/sharing.py`` decides: each where it fits into half of what is free, gradients first.
    """
    if machine.accelerator is None or machine.num_devices == 1:
        return False, False
    weights, size = anatomy.weights, 4 if training.dtype == "float32" else 2
    shards = max(1, machine.num_devices // training.mesh.replicate)
    at_rest = weights.frozen * size + (weights.frozen_float32 + weights.trained) * 4
    spare = 0.5 * (machine.room - (at_rest + 12 * weights.trained) / shards)
    gone = 1 - 1 / training.mesh.expert  # the share of the experts that is elsewhere
    gradients = 4 * (weights.trained - weights.trained_experts * gone)
    whole = gradients + at_rest - 4 * weights.experts * gone
    return gradients <= spare, whole <= spare


def _whole(anatomy: Anatomy, training: Training, machine: Machine, size: int) -> float:
    """Return what FSDP holds whole: all, or a layer, the next one, and what is in no layer."""
    are_gradients_kept, are_weights_kept = find_sharing(anatomy, training, machine)
    gone = 1 - 1 / training.mesh.expert

    def weights_of(part: Weights) -> float:
        return size * (part.total - part.experts * gone)

    def trained_of(part: Weights) -> float:
        return part.trained - part.trained_experts * gone

    layer = max((layer.weights for layer in anatomy.layers), key=lambda each: each.total)
    gathered = 2 * weights_of(layer) + weights_of(anatomy.outside)
    if are_weights_kept:
        gathered = weights_of(anatomy.weights)
    summed = (size + 4) * trained_of(layer)
    return gathered + (summed + 4 * trained_of(anatomy.weights) if are_gradients_kept else summed)
