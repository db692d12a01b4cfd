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
from transformers.pytorch_utils import Conv1D

from langraft.families.sites import FFNSite, apply_activation, weight_and_bias
from langraft.graft.products import AllExperts, OneExpert, groups, has_grouped_mm

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
                beyond the last end are nobody's.
            ends_N: Where each expert's rows end, int32; on the host where it knows them.

        Returns:
            One output row for each input row, (A, D); anything where a row is nobody's.
        """
        dtype = _product_dtype(x_AD)
        stacks = (self.weight_in, self.bias_in, self.weight_out, self.bias_out)
        weights = [_own_experts(stack) for stack in stacks]
        x_AD = x_AD.to(dtype)
        if torch.compiler.is_compiling() or self._activation_trains():
            return _run(x_AD, _as(dtype, weights), ends_N, self.activation, self.is_gated)
        return _Experts.apply(x_AD, *weights, groups(ends_N), self.activation, self.is_gated)

    @property
    def is_whole(self) -> bool:
        """Whether all experts are here, none at another process."""
        return type(self.weight_in) is nn.Parameter

    def has_grouped_mm(self, x_TD: Tensor) -> bool:
        """Say whether rows of these tokens can be computed without the host's knowing the ends."""
        return has_grouped_mm(x_TD.device, _product_dtype(x_TD), *self.weight_in.shape[1:])

    def run_one(self, x_TD: Tensor, number: int) -> Tensor:
        """Run all rows through one expert, (T, D); without the others' weights."""
        x_TD = x_TD.to(_product_dtype(x_TD))
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
    """Return the experts of this process, of a stack that is shared out (expert parallelism)."""
    return stack.to_local() if isinstance(stack, DTensor) else stack


def has_plain_matrices(site: FFNSite) -> bool:
    """Say whether an FFN's matrices can be multiplied with part of its rows: no quantised ones."""
    names = {site.gate or site.up, site.up, site.down}
    return all(type(site.module.get_submodule(name)) in (nn.Linear, Conv1D) for name in names)


def run_first_rows(site: FFNSite, x_TD: Tensor, end_1: Tensor) -> Tensor:
    """Run the first rows through the original FFN by its own weights, (T, D).

    Args:
        site: Where it is.
        x_TD: Rows.
        end_1: How many are meant, (1,), int32; what comes out for the others is anything.
    """
    x_TD = x_TD.to(_product_dtype(x_TD))

    def linear(name: str, rows: Tensor) -> Tensor:
        weight, bias = weight_and_bias(site.module.get_submodule(name))
        bias = None if bias is None else bias.to(rows.dtype).unsqueeze(0)
        return AllExperts(end_1).forward(rows, weight.to(rows.dtype).unsqueeze(0), bias)

    if site.kind == "gated":
        hidden = site.activation(linear(site.gate, x_TD)) * linear(site.up, x_TD)
    else:
        hidden = apply_activation(linear(site.up, x_TD), site.activation, site.kind == "fused")
    return linear(site.down, hidden.to(x_TD.dtype))


def _run(
    x_AD: Tensor,
    weights: Sequence[Any],
    ends_N: Tensor,
    activation: Activation,
    is_gated: bool,
) -> Tensor:
    """Compute experts so that autograd, or the compiler, finds the backward pass."""
    weight_in, bias_in, weight_out, bias_out = weights
    experts = AllExperts(ends_N)
    hidden_AG = experts.forward(x_AD, weight_in, bias_in)
    hidden_AF = apply_activation(hidden_AG, activation, is_gated).to(x_AD.dtype)
    return experts.forward(hidden_AF, weight_out, bias_out)


class _Experts(torch.autograd.Function):
    """The same with a backward pass that keeps less.

    Of each row, the input and the G inner products are kept for it and what the activation makes
    of those is computed again; autograd would keep the parts of that too. What asks for no
    gradient gets none: weights in a review, inputs above frozen layers. Weights in the precision
    of the rows are made for each pass and not kept, and their gradients are written in their own.
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
        gradient_AD = gradients[0].contiguous()
        is_written = len(ctx.experts) == len(given[0]) or any(
            isinstance(group, AllExperts) for group in ctx.experts
        )
        make = torch.empty_like if is_written else torch.zeros_like  # those without rows
        of_x, of_in, of_bias_in, of_out, of_bias_out = (
            make(like) if is_wanted and like is not None else None
            for is_wanted, like in zip(ctx.needs_input_grad, (gradient_AD, *given), strict=False)
        )
        weight_in, _, weight_out, _ = _as(gradient_AD.dtype, given)
        for group, hidden_AG in zip(ctx.experts, kept, strict=True):
            of_out_AD = gradient_AD[group.rows]
            of_active_AF = group.towards_inputs(of_out_AD, weight_out)
            hidden_AF, of_hidden_AG = _through_activation(
                hidden_AG, of_active_AF, ctx.activation, ctx.is_gated
            )
            if of_x is not None:
                of_x[group.rows] = group.towards_inputs(of_hidden_AG, weight_in)
            if of_in is not None:
                group.towards_weights(of_hidden_AG, x_AD[group.rows], of_in)
            if of_bias_in is not None:
                group.towards_bias(of_hidden_AG, of_bias_in)
            if of_out is not None:
                group.towards_weights(of_out_AD, hidden_AF, of_out)
            if of_bias_out is not None:
                group.towards_bias(of_out_AD, of_bias_out)
        return of_x, of_in, of_bias_in, of_out, of_bias_out, None, None, None


def _through_activation(
    hidden_AG: Tensor, gradient_AF: Tensor, activation: Activation, is_gated: bool
) -> tuple[Tensor, Tensor]:
    """Return the activation's output and the gradient of what it was given."""
    gate_AF = hidden_AG.chunk(2, dim=-1)[0] if is_gated else hidden_AG
    with torch.enable_grad():
        gate_AF = gate_AF.detach().requires_grad_()
        active_AF = activation(gate_AF).to(gate_AF.dtype)
    if not is_gated:
        return active_AF.detach(), torch.autograd.grad(active_AF, gate_AF, gradient_AF)[0]
    up_AF = hidden_AG.chunk(2, dim=-1)[1]
    gradient_AG = torch.empty_like(hidden_AG)
    of_gate, of_up = gradient_AG.chunk(2, dim=-1)
    torch.mul(gradient_AF, active_AF.detach(), out=of_up)
    of_gate.copy_(torch.autograd.grad(active_AF, gate_AF, gradient_AF.mul_(up_AF))[0])
    return active_AF.detach() * up_AF, gradient_AG


def _product_dtype(rows: Tensor) -> torch.dtype:
    """Return the precision that products of some rows have: that of autocast, or their own."""
    device = rows.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else rows.dtype


def _as(dtype: torch.dtype, weights: Sequence[Tensor | None]) -> list[Any]:
    return [None if weight is None else weight.to(dtype) for weight in weights]


def _stack(tensor: Tensor, num_experts: int) -> nn.Parameter:
    copies = tensor.detach().float().expand(num_experts, *tensor.shape)
    return nn.Parameter(copies.clone(memory_format=torch.contiguous_format))
