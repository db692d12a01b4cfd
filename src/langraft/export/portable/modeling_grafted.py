"""A language model to which langraft grafted experts; loads where langraft is not installed.

    AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)

The model is its base's own class; in the layers that config.json lists under ``grafted_layers``
an FFN that routes each token among experts stands in the place of the base's. Experts are
modules of the base's own FFN class, so what quantises, shards or adapts that class knows them.

Shape suffixes: T = tokens, D = model width, E = experts that the router chooses among, K = experts
a token meets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig as BaseConfig
from transformers import LlamaForCausalLM as BaseForCausalLM
from transformers import LlamaModel as BaseModel

from langraft.graft.moe.reference import (
    choose_experts,
    fuse,
    mix_all_experts,
    mix_experts,
    score_experts,
)


class GraftedConfig(BaseConfig):
    """The base's configuration and a description of what was grafted."""

    model_type = "grafted_llama"


class GraftedModel(BaseModel):
    """The base without its output matrix; servers bring their own."""

    config_class = GraftedConfig

    def __init__(self, config: Any) -> None:
        """Build the base, then put experts into the layers that the config lists."""
        super().__init__(config)
        _graft(self, config, inside=f"{self.base_model_prefix}.")
        self.post_init()


class GraftedForCausalLM(BaseForCausalLM):
    """The base with experts in its FFNs."""

    config_class = GraftedConfig

    def __init__(self, config: Any) -> None:
        """Build the base, then put experts into the layers that the config lists."""
        super().__init__(config)
        _graft(self, config)
        output: Any = self.get_output_embeddings()
        if isinstance(output, AdaptedProjection):
            head = next(name for name, module in self.named_modules() if module is output)
            wrapped = f"{head}.base."
            while isinstance(output.base, AdaptedProjection):
                output, wrapped = output.base, f"{wrapped}base."
            self._tied_weights_keys = {
                key.replace(f"{head}.", wrapped): source
                for key, source in (self._tied_weights_keys or {}).items()
            }
            self.register_forward_pre_hook(_note_kept, with_kwargs=True)
        self.post_init()


def _graft(model: nn.Module, config: Any, inside: str = "") -> None:
    """Put experts and adapters into a base.

    Args:
        model: The base, or the part of it whose modules' names begin with ``inside``.
        config: Names what was grafted, as the whole model calls it.
        inside: Beginning of names; what is named otherwise is no part of ``model``.
    """
    for path, layer in config.grafted_layers.items():
        parent, _, attribute = path.removeprefix(inside).rpartition(".")
        module = model.get_submodule(parent)
        setattr(module, attribute, GraftedFFN(getattr(module, attribute), **layer))
    for path, adapter in config.adapted_projections.items():
        if not path.startswith(inside):
            continue
        parent, _, attribute = path.removeprefix(inside).rpartition(".")
        module = model.get_submodule(parent)
        ffn = model.get_submodule(adapter["ffn"].removeprefix(inside))
        adapted = AdaptedProjection(
            getattr(module, attribute), adapter["rank"], ffn, adapter["experts"]
        )
        setattr(module, attribute, adapted)


def _note_kept(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Tell the output matrix for which tokens logits are wanted; generation wants the last."""
    kept = kwargs.get("logits_to_keep", 0)
    head = model.get_output_embeddings()
    while isinstance(head, AdaptedProjection):
        head.kept = slice(-kept, None) if isinstance(kept, int) else kept
        head = head.base


def _innermost(module: Any) -> Any:
    return _innermost(module.base) if isinstance(module, AdaptedProjection) else module


class AdaptedProjection(nn.Module):
    """A projection with a low-rank addition, scaled by the weight of new experts."""

    def __init__(self, base: Any, rank: int | None, ffn: Any, experts: list[int]) -> None:
        """Wrap the base's projection; ``ffn`` is the nearest below that has these experts."""
        super().__init__()
        self.base = base
        is_transposed = base.weight.ndim == 2 and hasattr(_innermost(base), "nf")  # Conv1D
        width_out, width_in = base.weight.T.shape if is_transposed else base.weight.shape
        self.experts = experts
        self.adapter_down = nn.Linear(width_in, rank, bias=False) if rank else nn.Identity()
        self.adapter_up = nn.Linear(rank or width_in, width_out, bias=False)
        self._ffn = (ffn,)  # in a tuple: it is a part of its own layer
        self.kept: Any = slice(None)  # of each sequence, the tokens that get here

    @property
    def in_features(self) -> float:
        """No width equals NaN: servers join matrices of one width, without the addition."""
        return float("nan")

    @property
    def weight(self) -> Tensor:
        """The base's matrix."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        """Project (..., D)."""
        share_T = self._ffn[0].share_T(*self.experts).view(len(x), -1)[:, self.kept]
        low = self.adapter_down(x) * share_T.reshape(*x.shape[:-1], 1).to(x.dtype)
        return self.base(x) + self.adapter_up(low)


class Scores(nn.Module):
    """One score a row of its matrix, in float32.

    Not a ``Linear``, so what quantises those leaves a router in its own precision: two nearly
    equal scores decide between experts.
    """

    def __init__(self, width: int, num_scores: int, *, has_bias: bool = False) -> None:
        """Make a matrix of (num_scores, width)."""
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(num_scores, width))
        self.bias = nn.Parameter(torch.zeros(num_scores)) if has_bias else None

    def forward(self, x_TD: Tensor) -> Tensor:
        """Score tokens, (T, D) to (T, num_scores)."""
        scores = score_experts(x_TD, self.weight)
        return scores if self.bias is None else scores + self.bias.float()


class GraftedFFN(nn.Module):
    """The original FFN and new experts of its class.

    Without a gate the original is expert 0 of the router's choice; with one it stands beside the
    experts and the gate fuses the two: ``y = b + g (m - b)``.
    """

    def __init__(
        self,
        base: nn.Module,
        width: int,
        num_experts: int,
        experts_per_token: int,
        takes_residual: bool,
        gate: str,
        gate_opening: float,
    ) -> None:
        """Wrap the base's FFN, with so many new experts beside it."""
        super().__init__()
        self.base = base
        self.experts = nn.ModuleList(deepcopy(base) for _ in range(num_experts))
        self.router = Scores(width, num_experts + (not gate))
        self.gate = Scores(width, 1, has_bias=True) if gate in ("sigmoid", "hard") else None
        self.experts_per_token = experts_per_token
        self.takes_residual = takes_residual
        self.gate_kind = gate
        self.gate_opening = gate_opening

    def forward(self, hidden: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return the fused output of each token's experts, in the shape (..., D) it came in."""
        x_TD = hidden.reshape(-1, hidden.shape[-1])
        base, *new = self._ffns()
        experts_TK, weights_TK = choose_experts(self.router(x_TD), self.experts_per_token)
        mix = mix_all_experts if _wants_static_shapes(x_TD) else mix_experts
        if self.gate_kind:
            opening_T1 = self._opening(x_TD)
            y_TD = fuse(base(x_TD), mix(x_TD, new, experts_TK, weights_TK), opening_T1)
            weights_TK = weights_TK * opening_T1
        else:
            y_TD = mix(x_TD, [base, *new], experts_TK, weights_TK)
        self.experts_TK, self.weights_TK = experts_TK, weights_TK
        self.has_graph = torch.is_grad_enabled()
        y = y_TD.reshape(hidden.shape)
        return y if residual is None else y + residual

    def __getstate__(self) -> dict[str, Any]:
        """Leave the last pass out of copies: a tensor with a graph cannot be copied."""
        kept = ("experts_TK", "weights_TK", "has_graph")
        return {name: value for name, value in self.__dict__.items() if name not in kept}

    def share_T(self, first: int, stop: int) -> Tensor:
        """Return the share of each token's output that some experts gave in the last pass."""
        if torch.is_grad_enabled() and not self.has_graph:
            raise RuntimeError(
                "attention adapters get no gradient of the router under re-entrant recomputation; "
                'give gradient_checkpointing_kwargs={"use_reentrant": False}'
            )
        is_in_TK = (self.experts_TK >= first) & (self.experts_TK < stop)
        return (self.weights_TK * is_in_TK).sum(dim=-1)

    def _opening(self, x_TD: Tensor) -> Tensor:
        """Return g, (T, 1): what share of the experts comes through."""
        if self.gate is None:
            return torch.full_like(x_TD[:, :1], self.gate_opening)
        scores_T1 = self.gate(x_TD)
        return (scores_T1 >= 0).float() if self.gate_kind == "hard" else scores_T1.sigmoid()

    def _ffns(self) -> Sequence[Callable[[Tensor], Tensor]]:
        """Return the original FFN and the new experts, (T, D) in and out."""
        return [partial(self._run, ffn) for ffn in (self.base, *self.experts)]

    def _run(self, ffn: nn.Module, x_TD: Tensor) -> Tensor:
        """Run an FFN; one that adds the residual stream itself gets zeros for it."""
        return ffn(x_TD, torch.zeros_like(x_TD)) if self.takes_residual else ffn(x_TD)


def _wants_static_shapes(x_TD: Tensor) -> bool:
    """Say whether a compiler or a CUDA graph records this pass to run it with other tokens."""
    is_captured = x_TD.is_cuda and torch.cuda.is_current_stream_capturing()
    return torch.compiler.is_compiling() or is_captured
