"""A language model to which langraft grafted experts; loads where langraft is not installed.

    AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)

The model is its base's own class; in the layers that config.json lists under ``grafted_layers``
an FFN that routes each token among experts stands in the place of the base's.

Shape suffixes: T = tokens, D = model width, F = FFN width, N = new experts, E = experts that the
router chooses among, K = experts a token meets, G = inner rows: 2F with a gate, F without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig as BaseConfig
from transformers import LlamaForCausalLM as BaseForCausalLM

from langraft.graft.moe.reference import choose_experts, fuse, mix_experts


class GraftedConfig(BaseConfig):
    """The base's configuration and a description of what was grafted."""

    model_type = "grafted_llama"


class GraftedForCausalLM(BaseForCausalLM):
    """The base with experts in its FFNs."""

    config_class = GraftedConfig

    def __init__(self, config: Any) -> None:
        """Build the base, then put experts into the layers that the config lists."""
        super().__init__(config)
        for path, layer in config.grafted_layers.items():
            parent, _, attribute = path.rpartition(".")
            module = self.get_submodule(parent)
            setattr(module, attribute, GraftedFFN(getattr(module, attribute), **layer))
        for path, adapter in config.adapted_projections.items():
            parent, _, attribute = path.rpartition(".")
            module = self.get_submodule(parent)
            ffn = self.get_submodule(adapter["ffn"])
            adapted = AdaptedProjection(
                getattr(module, attribute), adapter["rank"], ffn, adapter["experts"]
            )
            setattr(module, attribute, adapted)
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
    def weight(self) -> Tensor:
        """The base's matrix."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        """Project (..., D)."""
        share_T = self._ffn[0].share_T(*self.experts).view(len(x), -1)[:, self.kept]
        low = self.adapter_down(x.to(self.adapter_up.weight.dtype))
        addition = self.adapter_up(share_T.reshape(*x.shape[:-1], 1).to(low.dtype) * low)
        y = self.base(x)
        return y + addition.to(y.dtype)


class GraftedFFN(nn.Module):
    """The original FFN and new experts of its shape.

    Without a gate the original is expert 0 of the router; with one it stands beside the experts
    and the gate fuses the two: ``y = b + g (m - b)``.
    """

    def __init__(
        self,
        base: nn.Module,
        shapes: dict[str, list[int]],
        experts_per_token: int,
        is_gated: bool,
        takes_residual: bool,
        gate: str,
        gate_opening: float,
    ) -> None:
        """Wrap the base's FFN; ``shapes`` gives the experts' tensors and the router's rows."""
        super().__init__()
        self.base = base
        self.experts = nn.ParameterDict(
            {name: nn.Parameter(torch.empty(shape)) for name, shape in shapes.items()}
        )
        num_new, width, _ = shapes["weight_out"]
        self.router = nn.Linear(width, num_new + (not gate), bias=False)
        self.gate = nn.Linear(width, 1) if gate in ("sigmoid", "hard") else None
        self.experts_per_token = experts_per_token
        self.is_gated = is_gated
        self.takes_residual = takes_residual
        self.gate_kind = gate
        self.gate_opening = gate_opening

    def forward(self, hidden: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return the fused output of each token's experts, in the shape (..., D) it came in."""
        x_TD = hidden.reshape(-1, hidden.shape[-1])
        new = self._new_experts()
        experts_TK, weights_TK = choose_experts(x_TD, self.router.weight, self.experts_per_token)
        if self.gate_kind:
            opening_T1 = self._opening(x_TD)
            branch_TD = mix_experts(x_TD, new, experts_TK, weights_TK)
            y_TD = fuse(self._run_base(x_TD), branch_TD, opening_T1)
            weights_TK = weights_TK * opening_T1
        else:
            y_TD = mix_experts(x_TD, [self._run_base, *new], experts_TK, weights_TK)
        self.experts_TK, self.weights_TK = experts_TK, weights_TK
        y = y_TD.reshape(hidden.shape)
        return y if residual is None else y + residual

    def share_T(self, first: int, stop: int) -> Tensor:
        """Return the share of each token's output that some experts gave in the last pass."""
        is_in_TK = (self.experts_TK >= first) & (self.experts_TK < stop)
        return (self.weights_TK * is_in_TK).sum(dim=-1)

    def _opening(self, x_TD: Tensor) -> Tensor:
        """Return g, (T, 1): what share of the experts comes through."""
        if self.gate is None:
            return torch.full_like(x_TD[:, :1], self.gate_opening)
        scores_T1 = nn.functional.linear(
            x_TD.float(), self.gate.weight.float(), self.gate.bias.float()
        )
        return (scores_T1 >= 0).float() if self.gate_kind == "hard" else scores_T1.sigmoid()

    def _run_base(self, x_TD: Tensor) -> Tensor:
        return self.base(x_TD, torch.zeros_like(x_TD)) if self.takes_residual else self.base(x_TD)

    def _new_experts(self) -> Sequence[Callable[[Tensor], Tensor]]:
        num_new = len(self.experts["weight_out"])
        return [partial(self._run_expert, number) for number in range(num_new)]

    def _run_expert(self, number: int, x_TD: Tensor) -> Tensor:
        names = ("act_fn", "activation_fn", "act", "activation", "gelu_impl")
        activation = next(getattr(self.base, name) for name in names if hasattr(self.base, name))
        inner_TG = self._linear(x_TD, "in", number)
        if self.is_gated:
            gate_TF, up_TF = inner_TG.chunk(2, dim=-1)
            return self._linear(activation(gate_TF) * up_TF, "out", number)
        return self._linear(activation(inner_TG), "out", number)

    def _linear(self, x_TD: Tensor, which: str, number: int) -> Tensor:
        bias = f"bias_{which}"
        return nn.functional.linear(
            x_TD,
            self.experts[f"weight_{which}"][number].to(x_TD.dtype),
            self.experts[bias][number].to(x_TD.dtype) if bias in self.experts else None,
        )
