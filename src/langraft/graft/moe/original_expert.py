"""Expert 0: the base's own FFN, where it was, with its own weights.

Shape suffixes: T = tokens, D = model width.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from langraft.families.sites import FFNSite, apply_activation, run_ffn, weight_and_bias
from langraft.graft.moe.experts import product_dtype
from langraft.graft.moe.grouped_linear import AllExperts


class OriginalExpert:
    """The original FFN of a site as an expert among others."""

    def __init__(self, site: FFNSite) -> None:
        """Stand for the FFN of a site."""
        self._site = site

    def run(self, x_TD: Tensor) -> Tensor:
        """Run all rows, (T, D) to (T, D)."""
        return run_ffn(self._site.module, x_TD, takes_residual=self._site.takes_residual)

    @property
    def can_run_first(self) -> bool:
        """Whether ``run_first`` works here: not with quantised matrices, nor with a residual."""
        site = self._site
        names = {site.gate or site.up, site.up, site.down}
        is_plain = all(type(site.module.get_submodule(n)) in (nn.Linear, Conv1D) for n in names)
        return is_plain and not site.takes_residual

    def run_first(self, x_TD: Tensor, end_1: Tensor) -> Tensor:
        """Run the first rows alone, as many as a tensor says that the host need not read.

        Args:
            x_TD: Rows.
            end_1: How many are meant, (1,), int32; the others' outputs may be anything.
        """
        site = self._site
        x_TD = x_TD.to(product_dtype(x_TD))

        def linear(name: str, rows: Tensor) -> Tensor:
            weight, bias = weight_and_bias(site.module.get_submodule(name))
            bias = None if bias is None else bias.to(rows.dtype).unsqueeze(0)
            return AllExperts(end_1).forward(rows, weight.to(rows.dtype).unsqueeze(0), bias)

        if site.kind == "gated":
            hidden = site.activation(linear(site.gate, x_TD)) * linear(site.up, x_TD)
        else:
            hidden = apply_activation(linear(site.up, x_TD), site.activation, site.kind == "fused")
        return linear(site.down, hidden.to(x_TD.dtype))
