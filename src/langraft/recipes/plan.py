"""The cost of a run before anything is spent: parameters, FLOPs, memory, tokens."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from langraft.core.stage import Stage
from langraft.core.training import Training
from langraft.evaluate.scorecard import Parameters
from langraft.graft.expanded_ffn import ExpandedFFN, expanded_ffns
from langraft.graft.freeze import group_of, parameter_groups
from langraft.graft.new_rows import ExtendedHead
from langraft.graft.token_rows import RareRowHead
from langraft.train.loop import num_steps

_LOGITS_AT_ONCE = 2**26


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage's cost.

    Attributes:
        tokens: Rounded up to whole steps.
        num_steps: Optimizer steps.
        trainable: Parameters that train.
        flops_per_token: Forward and backward.
        memory_bytes: Estimate for one process that holds everything: weights, gradients,
            optimizer states, activations of one micro-batch.
    """

    name: str
    tokens: int
    num_steps: int
    trainable: int
    flops_per_token: float
    memory_bytes: int

    @property
    def training_flops(self) -> float:
        """Floating-point operations of the whole stage."""
        return self.flops_per_token * self.tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a method costs on a base; notes say where the figures are bounds."""

    method: str
    parameters: Parameters
    stages: tuple[StagePlan, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data, with totals."""
        return asdict(self) | {
            "tokens": sum(stage.tokens for stage in self.stages),
            "training_flops": sum(stage.training_flops for stage in self.stages),
        }


def plan_method(model: Any, stages: tuple[Stage, ...], training: Training, method: str) -> Plan:
    """Count a grafted model, which may be without weights (on the meta device).

    FLOPs of a token (a multiply and an add are two): forward 2 per weight it meets and
    2 * S * width per layer for attention over on average S / 2 earlier tokens; backward the same
    for the gradient of activations, attention twice, and 2 per *trained* weight it meets. What is
    frozen costs no weight gradient. Normalisation and softmax are left out, and so is what the
    first layer saves where nothing below its FFN trains.
    """
    groups = parameter_groups(model)
    ffns = expanded_ffns(model)
    total = sum(p.numel() for parameters in groups.values() for p in parameters.values())
    active = total - sum(_idle(ffn) for ffn in ffns)
    met = _weights_met(model)
    config = model.config
    head_width = getattr(config, "head_dim", None) or (
        config.hidden_size // config.num_attention_heads
    )
    attention = (
        2.0
        * config.num_hidden_layers
        * training.sequence_length
        * config.num_attention_heads
        * head_width
    )
    planned: list[StagePlan] = []
    trained_groups = set[str]()
    for stage in stages:
        trains = tuple(groups) if stage.trains == "everything" else stage.trains or ()
        trained_groups |= set(trains)
        trainable = sum(p.numel() for g in trains for p in groups.get(g, {}).values())
        forward = 2 * sum(met.values()) + attention
        backward = 2 * sum(met.values()) + 2 * attention + 2 * sum(met.get(g, 0) for g in trains)
        recomputed = forward if training.activation_checkpointing else 0
        steps = num_steps(stage, training)
        planned.append(
            StagePlan(
                name=stage.name,
                tokens=steps * training.batch_rows * training.sequence_length,
                num_steps=steps,
                trainable=trainable,
                flops_per_token=forward + backward + recomputed,
                memory_bytes=_memory(config, total, trainable, ffns, training),
            )
        )
    trainable = sum(p.numel() for g in trained_groups for p in groups.get(g, {}).values())
    return Plan(
        method=method,
        parameters=Parameters(total=total, active=active, trainable=trainable),
        stages=tuple(planned),
    )


def _idle(ffn: ExpandedFFN) -> int:
    """Return the weights of the experts that a token does not meet."""
    num_new = ffn.experts.weight_in.shape[0]
    per_expert = sum(p.numel() for p in ffn.experts.parameters()) // num_new
    return per_expert * (ffn.num_competing - ffn.top_k)


def _weights_met(model: nn.Module) -> Mapping[str, float]:
    """Return, by group, the weights that multiply a token: matrices, not embeddings.

    Of the K experts that a token meets, K / E is on average the original where it competes; beside
    a gate the original is always met.
    """
    met: dict[str, float] = defaultdict(float)
    inside_ffn = set[int]()
    for ffn in expanded_ffns(model):
        size, each = _matrix_weights(ffn.original), ffn.top_k / ffn.num_competing
        met["base"] += size * (each if ffn.gate is None else 1)
        for expansion in ffn.expansions:
            met[group_of(expansion.experts)] += size * each * len(expansion.experts.weight_in)
            met[group_of(expansion.router)] += expansion.router.weight.numel()
        if ffn.gate is not None:
            met["gates"] += sum(p.numel() for p in ffn.gate.parameters())
        inside_ffn |= {id(inner) for inner in ffn.modules()}
    for module in model.modules():
        if isinstance(module, nn.Linear | Conv1D) and id(module) not in inside_ffn:
            met[group_of(module) or "base"] += module.weight.numel()
        elif isinstance(module, RareRowHead):
            met[group_of(module.deltas)] += module.deltas.delta.numel()
        elif isinstance(module, ExtendedHead):
            met[group_of(module.new_rows)] += module.new_rows.weight.numel()
    return met


def _matrix_weights(module: nn.Module) -> int:
    return sum(m.weight.numel() for m in module.modules() if isinstance(m, nn.Linear | Conv1D))


def _memory(
    config: Any, total: int, trainable: int, ffns: list[ExpandedFFN], training: Training
) -> int:
    """Estimate the peak of one process: every layer keeps its inputs for the backward pass."""
    size = 4 if training.dtype == "float32" else 2
    weights = (total - trainable) * size + trainable * 4
    optimizer = trainable * 12  # gradient and two moments
    tokens = training.micro_rows * training.sequence_length
    width = config.hidden_size
    inner = getattr(config, "intermediate_size", None) or 4 * width
    met = ffns[0].top_k if ffns else 1
    kept = (
        width if training.activation_checkpointing else 10 * width + met * (2 * width + 4 * inner)
    )
    activations = config.num_hidden_layers * tokens * kept * size
    logits = 3 * 4 * min(tokens * config.vocab_size, _LOGITS_AT_ONCE)
    return weights + optimizer + activations + logits
