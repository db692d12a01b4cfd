"""Activation checkpointing: what a layer keeps for its backward pass and what it computes again.

Whole layers recomputed cost a second forward pass (Chen et al., arXiv:1604.06174). The selective
form keeps what attention returned, and products that are no wider than what they read: queries,
keys, values, the ways out of attention and of the FFN. It recomputes the wide inner products of
FFNs and what is cheap: norms, activations, routing. (Korthikanti et al., arXiv:2205.05198, section
5, recompute attention instead; with fused kernels its scores are never held, and the inner
products of experts are what most is kept of.)
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from torch import Tensor
from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "_grouped_mm", "_scaled_mm", "grouped_linear")
_ATTENTION = ("attention", "attend_documents", "_varlen_attn")


def recompute_layers(model: Any, how: Literal[True, "selective"]) -> None:
    """Let transformers recompute each decoder layer in the backward pass.

    Args:
        model: A transformers model.
        how: ``True`` recomputes all of a layer; ``selective`` what holds most for its time.
    """
    options: dict[str, Any] = {"use_reentrant": False}
    if how == "selective":
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
    enable = getattr(model, "activation_checkpointing_enable", None)  # its name from 5.23
    (enable or model.gradient_checkpointing_enable)(options)
    # The library asks for the gradient of the embeddings' output, which only the reentrant form
    # needs: below the first layer that trains nothing is computed backward, nor recomputed.
    model.disable_input_require_grads()


def _policy(context: Any, operator: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    """Save outputs of attention and of narrow products; recompute the rest."""
    del context, kwargs
    name = getattr(operator, "_opname", str(operator))
    is_attention = any(word in name for word in _ATTENTION) and "backward" not in name
    is_product = name in _PRODUCTS
    if is_attention or (is_product and not _is_wide(args)):
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE


def _is_wide(args: tuple[Any, ...]) -> bool:
    """Say whether a product's rows are wider than those of its first factor."""
    factors = [each for each in args if isinstance(each, Tensor) and each.ndim > 1]
    rows, matrix = factors[:2]
    return matrix.shape[-1] * matrix.shape[-2] > rows.shape[-1] ** 2
