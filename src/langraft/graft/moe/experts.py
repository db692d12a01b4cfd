"""New experts: stacked copies of a layer's FFN, run by grouped matrix products.

Shape suffixes: A = rows sorted by expert, D = model width, F = FFN width, N = new experts,
G = inner rows: 2F with a gate (gate first), F without.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from langraft.families.sites import FFNSite, apply_activation
from langraft.graft.moe.grouped_linear import (
    AllExperts,
    OneExpert,
    expert_groups,
    has_grouped_mm,
)

Activation = Callable[[Tensor], Tensor]


class ExpertBank(nn.Module):
    """N experts of one layer that start as exact copies of its FFN (upcycling).

    Random experts cost MoE-LPR 6.7 points on new languages (METHODS: no copy), and only copies
    make the grafted model equal to the base before training.
    """

    langraft_group: ClassVar[str] = "experts"

    def __init__(self, site: FFNSite, num_experts: int) -> None:
        """Copy the FFN's weights ``num_experts`` times, in float32."""
        super().__init__()
        self._activation = (site.activation,)  # in a tuple: its weights, if any, are the base's
        self.is_gated = site.kind != "plain"
        (weight_in, bias_in), (weight_out, bias_out) = site.weights_in(), site.weights_out()
        self.weight_in = _stack(weight_in, num_experts)  # (N, G, D)
        self.weight_out = _stack(weight_out, num_experts)  # (N, D, F)
        self.bias_in = None if bias_in is None else _stack(bias_in, num_experts)
        self.bias_out = None if bias_out is None else _stack(bias_out, num_experts)

    @property
    def activation(self) -> Activation:
        """The nonlinearity of the base's FFN."""
        return self._activation[0]

    def forward(self, x_AD: Tensor, ends_N: Tensor) -> Tensor:
        """Run rows that are sorted by expert.

        Args:
            x_AD: Rows; the first ``ends_N[0]`` belong to the first new expert, and so on. Those
                beyond the last end are padding.
            ends_N: Where each expert's rows end, int32; on the host where it knows them.

        Returns:
            One output row for each input row, (A, D); any value where a row is padding.
        """
        dtype = product_dtype(x_AD)
        stacks = (self.weight_in, self.bias_in, self.weight_out, self.bias_out)
        weights = [_own_experts(stack) for stack in stacks]
        x_AD = x_AD.to(dtype)
        if torch.compiler.is_compiling() or self._activation_trains():
            return _run(x_AD, _as(dtype, weights), ends_N, self.activation, self.is_gated)
        return _Experts.apply(x_AD, *weights, expert_groups(ends_N), self.activation, self.is_gated)

    @property
    def is_whole(self) -> bool:
        """Whether all experts are here, none at another process."""
        return type(self.weight_in) is nn.Parameter

    def has_grouped_mm(self, x_TD: Tensor) -> bool:
        """Say whether a grouped kernel can run these tokens: the host need not know the ends."""
        return has_grouped_mm(x_TD.device, product_dtype(x_TD), *self.weight_in.shape[1:])

    def run_one(self, x_TD: Tensor, number: int) -> Tensor:
        """Run all rows through one expert, (T, D) to (T, D), reading only its weights."""
        x_TD = x_TD.to(product_dtype(x_TD))
        weights = (self.weight_in, self.bias_in, self.weight_out, self.bias_out)
        weight_in, bias_in, weight_out, bias_out = _as(
            x_TD.dtype, [None if each is None else each[number] for each in weights]
        )
        hidden_TG = nn.functional.linear(x_TD, weight_in, bias_in)
        hidden_TF = apply_activation(hidden_TG, self.activation, self.is_gated)
        return nn.functional.linear(hidden_TF, weight_out, bias_out)

    def _activation_trains(self) -> bool:
        """Say whether the activation has weights (Apertus) and they train with the base's."""
        activation = self.activation
        return isinstance(activation, nn.Module) and any(
            parameter.requires_grad for parameter in activation.parameters()
        )


def _own_experts(stack: Tensor | None) -> Tensor | None:
    """Return this process's experts of a stack that may be sharded (expert parallelism)."""
    return stack.to_local() if isinstance(stack, DTensor) else stack


def _run(
    x_AD: Tensor,
    weights: Sequence[Any],
    ends_N: Tensor,
    activation: Activation,
    is_gated: bool,
) -> Tensor:
    """Compute experts by operators that autograd and the compiler can differentiate."""
    weight_in, bias_in, weight_out, bias_out = weights
    experts = AllExperts(ends_N)
    hidden_AG = experts.forward(x_AD, weight_in, bias_in)
    hidden_AF = apply_activation(hidden_AG, activation, is_gated).to(x_AD.dtype)
    return experts.forward(hidden_AF, weight_out, bias_out)


class _Experts(torch.autograd.Function):
    """The experts of ``_run`` with a backward pass of our own, which keeps less.

    Kept of each row are its input and its G inner products; the activation's output is computed
    again, where autograd would keep it and its parts. Only what asks for a gradient gets one: no
    weights in a review, no inputs above frozen layers. Weights are cast to the precision of the
    rows for each pass and the casts not kept; gradients are written in the weights' own precision.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x_AD: Tensor,
        weight_in: Tensor,
        bias_in: Tensor | None,
        weight_out: Tensor,
        bias_out: Tensor | None,
        experts: Sequence[OneExpert | AllExperts],
        activation: Activation,
        is_gated: bool,
    ) -> Tensor:
        given = (weight_in, bias_in, weight_out, bias_out)
        weight_in, bias_in, weight_out, bias_out = _as(x_AD.dtype, given)
        out_AD = torch.empty_like(x_AD)
        kept: list[Tensor] = []
        for group in experts:
            hidden_AG = group.forward(x_AD[group.rows], weight_in, bias_in)
            hidden_AF = apply_activation(hidden_AG, activation, is_gated).to(x_AD.dtype)
            out_AD[group.rows] = group.forward(hidden_AF, weight_out, bias_out)
            kept.append(hidden_AG)
        x_of_weights = x_AD if ctx.needs_input_grad[1] else None
        ctx.save_for_backward(x_of_weights, *given, *kept)
        ctx.experts, ctx.activation, ctx.is_gated = experts, activation, is_gated
        return out_AD

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x_AD, *saved = ctx.saved_tensors  # once: a checkpoint lets go of what was read
        given, kept = saved[:4], saved[4:]
        grad_out_AD = gradients[0].contiguous()
        writes_all = len(ctx.experts) == len(given[0]) or any(
            isinstance(group, AllExperts) for group in ctx.experts
        )
        make = torch.empty_like if writes_all else torch.zeros_like  # 0 for experts without rows
        grad_x, grad_in, grad_bias_in, grad_weight_out, grad_bias_out = (
            make(like) if is_wanted and like is not None else None
            for is_wanted, like in zip(ctx.needs_input_grad, (grad_out_AD, *given), strict=False)
        )
        weight_in, _, weight_out, _ = _as(grad_out_AD.dtype, given)
        for group, hidden_AG in zip(ctx.experts, kept, strict=True):
            grad_rows_AD = grad_out_AD[group.rows]
            grad_active_AF = group.grad_input(grad_rows_AD, weight_out)
            hidden_AF, grad_hidden_AG = _activation_backward(
                hidden_AG, grad_active_AF, ctx.activation, ctx.is_gated
            )
            if grad_x is not None:
                grad_x[group.rows] = group.grad_input(grad_hidden_AG, weight_in)
            if grad_in is not None:
                group.grad_weight(grad_hidden_AG, x_AD[group.rows], grad_in)
            if grad_bias_in is not None:
                group.grad_bias(grad_hidden_AG, grad_bias_in)
            if grad_weight_out is not None:
                group.grad_weight(grad_rows_AD, hidden_AF, grad_weight_out)
            if grad_bias_out is not None:
                group.grad_bias(grad_rows_AD, grad_bias_out)
        return grad_x, grad_in, grad_bias_in, grad_weight_out, grad_bias_out, None, None, None


def _activation_backward(
    hidden_AG: Tensor, gradient_AF: Tensor, activation: Activation, is_gated: bool
) -> tuple[Tensor, Tensor]:
    """Return the activation's output, computed again, and the gradient of its input."""
    gate_AF = hidden_AG.chunk(2, dim=-1)[0] if is_gated else hidden_AG
    with torch.enable_grad():
        gate_AF = gate_AF.detach().requires_grad_()
        active_AF = activation(gate_AF).to(gate_AF.dtype)
    if not is_gated:
        return active_AF.detach(), torch.autograd.grad(active_AF, gate_AF, gradient_AF)[0]
    up_AF = hidden_AG.chunk(2, dim=-1)[1]
    gradient_AG = torch.empty_like(hidden_AG)
    grad_gate_AF, grad_up_AF = gradient_AG.chunk(2, dim=-1)
    torch.mul(gradient_AF, active_AF.detach(), out=grad_up_AF)
    grad_gate_AF.copy_(torch.autograd.grad(active_AF, gate_AF, gradient_AF.mul_(up_AF))[0])
    return active_AF.detach() * up_AF, gradient_AG


def product_dtype(rows: Tensor) -> torch.dtype:
    """Return the precision that some rows are multiplied in: that of autocast, or their own."""
    device = rows.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else rows.dtype


def _as(dtype: torch.dtype, weights: Sequence[Tensor | None]) -> list[Any]:
    return [None if weight is None else weight.to(dtype) for weight in weights]


def _stack(tensor: Tensor, num_experts: int) -> nn.Parameter:
    copies = tensor.detach().float().expand(num_experts, *tensor.shape)
    return nn.Parameter(copies.clone(memory_format=torch.contiguous_format))
