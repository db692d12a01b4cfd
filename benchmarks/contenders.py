"""The models that the benchmarks of speed compare, all of one shape and from the same weights.

    stage 1, stage 2    langraft's own loop: experts and routers, or routers alone
    dense               the base, trained in full
    dense x K           a dense model with K times the FFN width: the same FLOPs a token
    Mixtral             transformers' own MoE with the graft's weights, trained in full
    loop stage 1, 2     the reference's way to run experts, in our words: a Python loop over them,
                        rows gathered by a mask, outputs added by index_add_; frozen base

Shape suffixes: T = tokens, D = model width, E = experts, K = experts a token meets.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, LlamaConfig, MixtralConfig

from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.graft.methods.full import Full
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.moe.expanded_ffn import expanded_ffns
from langraft.graft.surgery import graft_model
from langraft.plan.plan import plan_method

MIXTURE = {"en": 1.0}  # of stages that the benchmarks give a loader of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A Llama and what is grafted on it; tokens of a step are rows x sequence_length.

    On a CPU vocabularies are as small as the rest of the model, so that the output matrix has a
    fifth of a token's weights; 152,000 entries have a seventh of those of a base of 2B.
    """

    num_layers: int
    width: int
    ffn_width: int
    num_heads: int
    vocab_size: int
    sequence_length: int = 512
    rows: int
    num_new_experts: int = 5
    top_k: int = 2

    @property
    def tokens_per_step(self) -> int:
        """Of one micro-batch, which is a step here."""
        return self.rows * self.sequence_length

    def config(self, ffn_width: int) -> LlamaConfig:
        """Return the base's config, with an FFN as wide as that."""
        return LlamaConfig(**self._common(ffn_width))

    def mixtral_config(self) -> MixtralConfig:
        """Return the config of the Mixtral that has the same parts as the graft."""
        return MixtralConfig(
            **self._common(self.ffn_width),
            num_local_experts=self.num_new_experts + 1,
            num_experts_per_tok=self.top_k,
        )

    def _common(self, ffn_width: int) -> dict[str, Any]:
        return {
            "vocab_size": self.vocab_size,
            "hidden_size": self.width,
            "intermediate_size": ffn_width,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_heads,
            "max_position_embeddings": 4096,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0},
            "tie_word_embeddings": False,
            "bos_token_id": None,
            "eos_token_id": None,
            "pad_token_id": None,
        }


PRESETS = {
    "tiny": Shape(  # to see that a script works; says nothing about speed
        num_layers=2,
        width=64,
        ffn_width=256,
        num_heads=2,
        vocab_size=4000,
        sequence_length=64,
        rows=4,
    ),
    "cpu": Shape(num_layers=4, width=256, ffn_width=1024, num_heads=8, vocab_size=8000, rows=4),
    "cpu_large": Shape(
        num_layers=8, width=512, ffn_width=2048, num_heads=8, vocab_size=32_000, rows=4
    ),
    "h200": Shape(
        num_layers=24,
        width=2048,
        ffn_width=5504,
        num_heads=16,
        vocab_size=152_000,
        sequence_length=2048,
        rows=4,
        num_new_experts=3,
    ),
}


def method(shape: Shape) -> MoELPR:
    return MoELPR(new_experts=shape.num_new_experts, experts_per_token=shape.top_k)


def training(shape: Shape, dtype: str, **changes: Any) -> Training:
    """Return the settings of a step of one micro-batch."""
    settings = {
        "sequence_length": shape.sequence_length,
        "batch_rows": shape.rows,
        "micro_rows": shape.rows,
        "dtype": dtype,
        "checkpoint_every": 10**6,
    }
    return Training.model_validate(settings | changes)


def stage(shape: Shape, name: str, num_steps: int) -> Stage:
    """Return MoE-LPR's ``extend`` or ``review`` for some steps, at a constant rate."""
    blank = Stage(
        name=name,
        tokens=num_steps * shape.tokens_per_step,
        mixture=MIXTURE,
        lr=1e-4,
        schedule="constant",
        warmup=0,
    )
    return method(shape).complete_stage(blank)


def base(shape: Shape, dtype: torch.dtype = torch.float32, *, times_wider: int = 1) -> Any:
    """Build the base, or a dense model whose FFNs are wider, of random weights."""
    torch.manual_seed(0)
    config = shape.config(times_wider * shape.ffn_width)
    return AutoModelForCausalLM.from_config(config).to(dtype)


def graft(shape: Shape, dtype: torch.dtype = torch.float32) -> Any:
    """Graft the base as ``langraft train`` does, and tell the copies apart a little.

    Exact copies would compute the same whatever the routers say, which no check could see through.
    """
    model = graft_model(base(shape, dtype), method(shape))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for ffn in expanded_ffns(model):
            for weight in (ffn.experts.weight_in, ffn.experts.weight_out):
                weight.add_(0.01 * torch.randn(weight.shape, generator=generator))
    return model


def mixtral(shape: Shape, implementation: str, grafted: Any) -> Any:
    """Return transformers' Mixtral with the graft's weights: the same function."""
    config = shape.mixtral_config()
    model = AutoModelForCausalLM.from_config(config, experts_implementation=implementation)
    own, ffns = model.state_dict(), expanded_ffns(grafted)
    state = {name: tensor for name, tensor in grafted.state_dict().items() if name in own}
    for number, ffn in enumerate(ffns):
        path, original = f"model.layers.{number}.mlp", ffn.original
        inner = torch.cat([original.gate_proj.weight, original.up_proj.weight])
        outer = original.down_proj.weight
        state[f"{path}.gate.weight"] = ffn.router.weight
        state[f"{path}.experts.gate_up_proj"] = torch.cat([inner[None], ffn.experts.weight_in])
        state[f"{path}.experts.down_proj"] = torch.cat([outer[None], ffn.experts.weight_out])
    model.load_state_dict(state)
    return model


class LoopFFN(nn.Module):
    """Experts as the reference runs them, by its description; every expert is a module."""

    def __init__(self, experts: list[nn.Module], router: Tensor, top_k: int) -> None:
        """Take experts, the frozen original first, and the router's weight (E, D)."""
        super().__init__()
        self.experts = nn.ModuleList(experts)
        self.router = nn.Linear(router.shape[1], router.shape[0], bias=False)
        self.router.weight.data.copy_(router)
        self.top_k = top_k
        self.logits_TE = router.new_zeros(0)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the weighted outputs of each token's experts."""
        x_TD = hidden.flatten(0, -2)
        self.logits_TE = self.router(x_TD)
        probability_TE = self.logits_TE.float().softmax(dim=-1)
        weights_TK, chosen_TK = probability_TE.topk(self.top_k, dim=-1)
        weights_TK = weights_TK / weights_TK.sum(dim=-1, keepdim=True)
        y_TD = torch.zeros_like(x_TD)
        for number, expert in enumerate(self.experts):
            rows, places = torch.where(chosen_TK == number)
            output = expert(x_TD[rows]) * weights_TK[rows, places, None]
            y_TD.index_add_(0, rows, output.to(y_TD.dtype))
        return y_TD.reshape(hidden.shape)


def loop(shape: Shape, grafted: Any, *, trains_experts: bool) -> Any:
    """Return the base with ``LoopFFN``s of the graft's weights, all but what trains frozen."""
    dtype = next(grafted.parameters()).dtype
    model = base(shape, dtype)
    model.load_state_dict(grafted.state_dict(), strict=False)
    model.requires_grad_(False)
    for layer, ffn in zip(model.model.layers, expanded_ffns(grafted), strict=True):
        layer.mlp.load_state_dict(ffn.original.state_dict())
        experts = [layer.mlp]
        pairs = zip(ffn.experts.weight_in, ffn.experts.weight_out, strict=True)
        for weight_in, weight_out in pairs:
            expert = copy.deepcopy(layer.mlp).float()
            gate, up = weight_in.chunk(2)
            expert.gate_proj.weight.data.copy_(gate)
            expert.up_proj.weight.data.copy_(up)
            expert.down_proj.weight.data.copy_(weight_out)
            experts.append(expert.requires_grad_(trains_experts))
        layer.mlp = LoopFFN(experts, ffn.router.weight.detach(), shape.top_k)
    return model


def flops_per_token(shape: Shape) -> dict[str, float]:
    """Count a step of each contender as ``langraft plan`` does, in FLOPs a token."""
    settings = training(shape, "float32")
    full = Stage(name="full", tokens=1, mixture=MIXTURE, trains="everything", losses={})
    with torch.device("meta"):
        grafted = graft_model(
            AutoModelForCausalLM.from_config(shape.config(shape.ffn_width)), method(shape)
        )
        narrow = AutoModelForCausalLM.from_config(shape.config(shape.ffn_width))
        wide = AutoModelForCausalLM.from_config(shape.config(shape.top_k * shape.ffn_width))
    stages = (stage(shape, "extend", 1), stage(shape, "review", 1), full)
    extend, review, whole = (
        s.flops_per_token for s in plan_method(grafted, stages, settings, "").stages
    )
    dense, dense_wide = (
        plan_method(graft_model(m, Full()), (full,), settings, "").stages[0].flops_per_token
        for m in (narrow, wide)
    )
    return {
        "stage 1": extend,
        "stage 2": review,
        "dense": dense,
        "dense x K": dense_wide,
        "Mixtral": whole,
        "loop stage 1": extend,
        "loop stage 2": review,
    }
