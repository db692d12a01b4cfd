"""LoRA: low-rank additions to every projection of the decoder layers, through PEFT.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", arXiv:2106.09685; a baseline of
MoE-LPR (arXiv:2408.11396, section 4.2). The base stays frozen, but every token of every language
meets the additions, so nothing protects original languages. An export holds the merged weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from transformers.pytorch_utils import Conv1D

from langraft.core.errors import MissingExtraError
from langraft.families.sites import layer_projections
from langraft.graft.expansion_context import GraftContext
from langraft.graft.method import AbstractDenseMethod, StageDefaults


class LoRA(AbstractDenseMethod):
    """Low-rank additions to attention and FFN projections."""

    paper: ClassVar[str] = "arXiv:2106.09685, a baseline of arXiv:2408.11396"
    groups: ClassVar[tuple[str, ...]] = ("adapters", "token_rows")
    is_merged: ClassVar[bool] = True

    name: Literal["lora"] = Field(default="lora", description="LoRA, through PEFT (extra: lora).")
    rank: int = Field(default=16, ge=1, le=2**16, description="Of each addition.")
    alpha: float = Field(
        default=32.0, gt=0, le=10**6, description="Additions count alpha / rank times."
    )

    @property
    def stage_defaults(self) -> Mapping[str, StageDefaults]:
        """Train the additions in every stage."""
        return {"*": StageDefaults(("adapters", *self.row_group), {})}

    def expand(self, model: Any, context: GraftContext) -> None:
        """Put PEFT's layers around every projection of the decoder layers.

        Raises:
            MissingExtraError: when PEFT is not installed.
        """
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError:
            raise MissingExtraError("peft", "lora", "method: lora") from None
        projections = layer_projections(model)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # pyright: ignore[reportArgumentType]
            target_modules=list(projections),
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in projections.values()),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            inject_adapter_in_model(config, model)
        for name, module in model.named_modules():
            if ".lora_" in name:
                module.langraft_group = "adapters"

    def merge(self, model: Any) -> None:
        """Add the products of the low-rank factors to the weights and take PEFT's layers away."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        for name, module in list(model.named_modules()):
            if isinstance(module, BaseTunerLayer):
                module.merge()
                parent, _, attribute = name.rpartition(".")
                setattr(model.get_submodule(parent), attribute, module.get_base_layer())
