"""Activation checkpointing: what a layer keeps for its backward pass and what it computes again.

Whole layers recomputed cost a second forward pass (Chen et al., arXiv:1604.06174). The selective
form keeps results of matrix products and attention, which cost most to compute, and recomputes
norms, activations, products by element and routing, which hold about as much memory for next to
no time (Korthikanti et al., arXiv:2205.05198, section 5, for attention the other way round: with
fused kernels its scores are never held).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from torch.utils.checkpoint import CheckpointPolicy, create_selective_checkpoint_contexts

_KEPT = ("mm", "addmm", "bmm", "baddbmm", "_grouped_mm", "_scaled_mm")
_ATTENTION = "attention"


def recompute_layers(model: Any, how: Literal[True, "selective"]) -> None:
    """Let transformers recompute each decoder layer in the backward pass.

    Args:
        model: A transformers model.
        how: ``True`` recomputes all of a layer; ``selective`` what is cheap.
    """
    options: dict[str, Any] = {"use_reentrant": False}
    if how == "selective":
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
    enable = getattr(model, "activation_checkpointing_enable", None)  # its name from 5.23
    (enable or model.gradient_checkpointing_enable)(options)


def _policy(context: Any, operator: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    """Keep what a matrix product or attention returned."""
    del context, args, kwargs
    name = getattr(operator, "_opname", str(operator))
    is_kept = name in _KEPT or (_ATTENTION in name and "backward" not in name)
    return CheckpointPolicy.MUST_SAVE if is_kept else CheckpointPolicy.PREFER_RECOMPUTE
