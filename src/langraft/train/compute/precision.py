"""Parts of a model in float32 while matrix products run in bfloat16.

PolyLM (arXiv:2307.06018, section 3.2) met loss spikes in bfloat16 alone, which went away with the
residual stream and attention in float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Generator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from langraft.core.errors import ModelError

SDPA_FLOAT32 = "sdpa_float32"  # a name among transformers' attention functions


@contextlib.contextmanager
def keep_float32(model: Any, parts: Collection[str]) -> Generator[None]:
    """Compute some parts of a model in float32 inside, whatever autocast says.

    Args:
        model: A transformers model.
        parts: ``residual``: every layer adds to a float32 stream, begun at the embeddings, which a
            LayerNorm with bfloat16 weights reads rounded; ``attention``: scores, softmax and the
            weighted sum of values.

    Raises:
        ModelError: when the model's attention cannot be exchanged.
    """
    with contextlib.ExitStack() as stack:
        embeddings = model.get_input_embeddings()
        if "residual" in parts:
            hook = embeddings.register_forward_hook(lambda _, __, output: output.float())
            stack.callback(hook.remove)
        # What trains is in float32, and so is the stream that begins at trained embeddings.
        if "residual" in parts or any(p.requires_grad for p in embeddings.parameters()):
            for module in model.modules():
                if isinstance(module, nn.LayerNorm):  # refuses an input of another dtype
                    hook = module.register_forward_pre_hook(_as_weight)
                    stack.callback(hook.remove)
        if "attention" in parts:
            AttentionInterface.register(SDPA_FLOAT32, sdpa_float32_forward)
            AttentionMaskInterface.register(SDPA_FLOAT32, sdpa_mask)
            before = model.config._attn_implementation
            model.set_attn_implementation(SDPA_FLOAT32)
            if model.config._attn_implementation != SDPA_FLOAT32:
                raise ModelError(
                    f"training.keep_float32: the attention of {type(model).__name__} cannot be "
                    "exchanged. Leave `attention` out, or train in float32."
                )
            stack.callback(model.set_attn_implementation, before)
        yield


def _as_weight(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    weight = module.weight
    return (inputs[0].to(weight.dtype), *inputs[1:]) if isinstance(weight, Tensor) else inputs


def sdpa_float32_forward(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Attend as SDPA does, in float32."""
    if mask is not None and mask.is_floating_point():
        mask = mask.float()
    with torch.autocast(query.device.type, enabled=False):
        output, weights = sdpa_attention_forward(
            module, query.float(), key.float(), value.float(), mask, **options
        )
    return output.to(query.dtype), weights
