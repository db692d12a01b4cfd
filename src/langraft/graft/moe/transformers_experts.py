"""transformers' experts interface: new experts computed by kernels that others register there.

What a library puts into ``ALL_EXPERTS_FUNCTIONS`` for the mixtures of transformers (ScatterMoE,
SonicMoE, ...) serves a graft's new experts by the same name; the original FFN runs by itself.

Shape suffixes: T = tokens, D = model width, K = top-k, N = new experts.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from langraft.core.errors import ModelError, did_you_mean
from langraft.graft.moe.experts import ExpertBank
from langraft.graft.moe.original_expert import OriginalExpert
from langraft.graft.moe.router import Routing

AUTO = "auto"
_NAMES = {"SiLUActivation": "silu", "SiLU": "silu", "GELUActivation": "gelu", "ReLU": "relu"}


def check_experts(name: str) -> None:
    """Refuse a name that nothing is registered under.

    Raises:
        ModelError: with the names there are.
    """
    known = [AUTO, *sorted(ALL_EXPERTS_FUNCTIONS)]
    if name not in known:
        raise ModelError(
            f"training.experts: given {name!r}; transformers' experts interface has "
            f"{', '.join(known[1:])}; or take {AUTO}. A library registers its kernel when it is "
            f"imported.{did_you_mean(name, known)}"
        )


def dispatch_to(
    name: str,
    x_TD: Tensor,
    routing: Routing,
    bank: ExpertBank,
    original: OriginalExpert | None,
) -> Tensor:
    """Do what ``dispatch.dispatch`` does with a registered function.

    Assignments to the original go to the function as expert N with weight 0, which is how the
    interface marks what is computed elsewhere.

    Args:
        name: Of the function.
        x_TD: Tokens.
        routing: Their experts and weights.
        bank: Experts 1.. beside an original, 0.. without one.
        original: Expert 0.
    """
    experts_TK, weights_TK = routing.experts_TK, routing.weights_TK
    num_new = len(bank.weight_in)
    is_original_TK = experts_TK == 0
    if original is not None:
        experts_TK = torch.where(is_original_TK, num_new, experts_TK - 1)
        weights_TK = weights_TK.masked_fill(is_original_TK, 0)
    as_experts = _as_experts(bank, x_TD)
    x_TD = x_TD.to(as_experts.down_proj.dtype)
    function: Any = ALL_EXPERTS_FUNCTIONS[name]
    y_TD: Tensor = function(as_experts, x_TD, experts_TK, weights_TK.to(x_TD.dtype))
    if original is None:
        return y_TD
    rows = is_original_TK.any(dim=-1).nonzero().squeeze(-1)
    weight_T1 = (routing.weights_TK * is_original_TK).sum(dim=-1, keepdim=True)[rows]
    original_out = original.run(x_TD[rows]).to(y_TD.dtype)
    return y_TD.index_add(0, rows, original_out * weight_T1.to(y_TD.dtype))


def _as_experts(bank: ExpertBank, x_TD: Tensor) -> SimpleNamespace:
    """Return a bank under the names that transformers' own experts have."""
    device = x_TD.device.type
    is_auto = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if is_auto else x_TD.dtype
    weight_in, bias_in, weight_out, bias_out = (
        None if each is None else each.to(dtype)
        for each in (bank.weight_in, bank.bias_in, bank.weight_out, bank.bias_out)
    )
    activation = bank.activation

    def apply_gate(hidden: Tensor) -> Tensor:
        gate, up = hidden.chunk(2, dim=-1)
        return activation(gate) * up

    into = "gate_up_proj" if bank.is_gated else "up_proj"
    return SimpleNamespace(
        **{into: weight_in, f"{into}_bias": bias_in},
        down_proj=weight_out,
        down_proj_bias=bias_out,
        act_fn=activation,
        _apply_gate=apply_gate,
        num_experts=len(bank.weight_in),
        has_gate=bank.is_gated,
        has_bias=bias_out is not None,
        has_post_expert_norm=False,
        is_concatenated=True,
        is_transposed=False,
        _is_expert_parallel=True,
        config=SimpleNamespace(hidden_act=_NAMES.get(type(activation).__name__, "unknown")),
    )
