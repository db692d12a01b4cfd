"""LLaMA-Pro: copied decoder blocks between the frozen ones, the copies alone are trained.

Wu et al., "LLaMA Pro: Progressive LLaMA with Block Expansion", arXiv:2401.02415; a baseline of
MoE-LPR (arXiv:2408.11396, section 4.2). The layers are split into groups; after each group stands
a copy of its last layer whose two output projections are zero, so that the model's function is
unchanged at step 0 (section 3.2). Every token of every language meets the new blocks, so nothing
protects original languages. The result is a deeper model of the base's own class.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import nn
from transformers.pytorch_utils import Conv1D

from langraft.core.errors import ModelError
from langraft.families.sites import FFNSite, decoder_layers, find_ffn_sites
from langraft.graft.expansion_context import GraftContext
from langraft.graft.method import AbstractDenseMethod, StageDefaults

_ATTENTION_OUTPUTS = ("o_proj", "out_proj", "c_proj", "dense")


class LlamaPro(AbstractDenseMethod):
    """New blocks that begin as identities."""

    paper: ClassVar[str] = "arXiv:2401.02415, a baseline of arXiv:2408.11396"
    groups: ClassVar[tuple[str, ...]] = ("blocks", "token_rows")
    is_merged: ClassVar[bool] = True  # it is a plain model already, only deeper

    name: Literal["llama_pro"] = Field(
        default="llama_pro", description="LLaMA-Pro's block expansion."
    )
    new_blocks: int = Field(
        default=8,
        ge=1,
        le=1000,
        description="Blocks to add, evenly spread; at most one after each layer.",
    )

    @property
    def stage_defaults(self) -> Mapping[str, StageDefaults]:
        """Train the new blocks in every stage."""
        return {"*": StageDefaults(("blocks", *self.row_group), {})}

    def expand(self, model: Any, context: GraftContext) -> None:
        """Insert the blocks; renumber the layers and the config's lists by layer."""
        del context
        sites = find_ffn_sites(model)
        prefix, layers = decoder_layers(model)
        num_layers = len(layers)
        if self.new_blocks > num_layers:
            raise ModelError(
                f"method.new_blocks: given {self.new_blocks}; the base has {num_layers} layers, "
                "and after each stands at most one new block."
            )
        grown: list[nn.Module] = []
        kept: list[
            int
        ] = []  # of each layer of the grown model, the layer it was or was copied from
        for number, layer in enumerate(layers):
            grown.append(layer)
            kept.append(number)
            is_last_of_group = (number + 1) * self.new_blocks // num_layers > (
                number * self.new_blocks // num_layers
            )
            if is_last_of_group:
                grown.append(_identity_block(layer, sites[number]))
                kept.append(number)
        for number, layer in enumerate(grown):
            for module in layer.modules():
                if hasattr(module, "layer_idx"):
                    vars(module)["layer_idx"] = number
        parent, _, attribute = prefix.rpartition(".")
        setattr(model.get_submodule(parent), attribute, nn.ModuleList(grown))
        for key, value in model.config.to_dict().items():
            if isinstance(value, list) and len(value) == num_layers:  # layer_types and its kind
                setattr(model.config, key, [value[number] for number in kept])
        model.config.num_hidden_layers = len(grown)


@torch.no_grad()
def _identity_block(layer: nn.Module, site: FFNSite) -> nn.Module:
    """Return a copy of a layer that adds nothing to the residual stream."""
    configs = [module.config for module in layer.modules() if hasattr(module, "config")]
    block = copy.deepcopy(layer, {id(config): config for config in configs})  # the model's own
    outputs = [f"{site.attribute}.{site.down}"] + [
        name
        for name, module in block.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
        and name.rpartition(".")[2] in _ATTENTION_OUTPUTS
        and not name.startswith(f"{site.attribute}.")
    ]
    if len(outputs) != 2:
        raise ModelError(
            f"llama_pro needs one output projection of attention and one of the FFN; {site.path} "
            f"stands in a layer that has {', '.join(outputs)}."
        )
    for name in outputs:
        for parameter in block.get_submodule(name).parameters():
            parameter.zero_()
    for module in block.modules():
        module.langraft_group = "blocks"  # pyright: ignore[reportArgumentType]
    return block
