"""New experts: stacked copies of a layer's FFN, run by one grouped matrix product.

Shape suffixes: T = rows to process, D = model width, F = FFN width, N = new experts,
G = inner rows: 2F with a gate (gate first), F without.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, overload

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from langraft.families.sites import FFNSite, apply_activation


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
    def activation(self) -> Callable[[Tensor], Tensor]:
        """The nonlinearity of the base's FFN."""
        return self._activation[0]

    def forward(self, x_TD: Tensor, ends_N: Tensor) -> Tensor:
        """Run rows that are sorted by expert.

        Args:
            x_TD: Rows; the first ``ends_N[0]`` belong to the first new expert, and so on.
            ends_N: Where each expert's rows end, int32.

        Returns:
            One output row for each input row, (T, D).
        """
        weight_in, weight_out = _own_experts(self.weight_in), _own_experts(self.weight_out)
        bias_in, bias_out = _own_experts(self.bias_in), _own_experts(self.bias_out)
        hidden_TG = _grouped_linear(x_TD, weight_in, bias_in, ends_N)
        hidden_TF = apply_activation(hidden_TG, self.activation, self.is_gated)
        return _grouped_linear(hidden_TF, weight_out, bias_out, ends_N)


@overload
def _own_experts(stack: Tensor) -> Tensor: ...
@overload
def _own_experts(stack: None) -> None: ...
def _own_experts(stack: Tensor | None) -> Tensor | None:
    """Return the experts of this process, of a stack that is shared out (expert parallelism)."""
    return stack.to_local() if isinstance(stack, DTensor) else stack


def _stack(tensor: Tensor, num_experts: int) -> nn.Parameter:
    copies = tensor.detach().float().expand(num_experts, *tensor.shape)
    return nn.Parameter(copies.clone(memory_format=torch.contiguous_format))


def _grouped_linear(x_TD: Tensor, weight: Tensor, bias: Tensor | None, ends_N: Tensor) -> Tensor:
    device = x_TD.device.type
    is_auto = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if is_auto else x_TD.dtype
    x_TD, weight = x_TD.to(dtype), weight.to(dtype).transpose(-2, -1)
    y = torch.nn.functional.grouped_mm(x_TD, weight, offs=ends_N)
    if bias is not None:
        sizes_N = ends_N.diff(prepend=ends_N.new_zeros(1))
        y = y + bias.to(dtype).repeat_interleave(sizes_N, dim=0, output_size=len(x_TD))
    return y
