"""Next-token loss by chunks, so that logits of a large vocabulary are never held at once.

Shape suffixes: B = rows, S = tokens of a row, T = B * S, D = model width, V = vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from langraft.curriculum.loader import IGNORED, Batch
from langraft.graft.context import KeptTokens

_CHUNK_LOGITS = 2**26  # logits held at once: 256 MB in float32


def token_losses(model: Any, batch: Batch) -> Tensor:
    """Return each position's next-token loss in nats, (T,), float32; 0 where there is no label."""
    return _by_chunks(model, batch, lambda logits, labels: _cross_entropy(logits, labels)[None])[0]


def token_losses_and_squared_log_z(model: Any, batch: Batch) -> Tensor:
    """Return beside each loss the squared log of the softmax's normaliser, (2, T), float32.

    Its mean is the z-loss of PaLM (arXiv:2204.02311, section 5); 0 where there is no label.
    """

    def both(logits_TV: Tensor, labels_T: Tensor) -> Tensor:
        log_z_T = logits_TV.float().logsumexp(-1) * (labels_T != IGNORED)
        return torch.stack([_cross_entropy(logits_TV, labels_T), log_z_T.square()])

    return _by_chunks(model, batch, both)


def _by_chunks(model: Any, batch: Batch, reduce: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Reduce (T, V) logits and (T,) labels to (..., T), a piece of T at a time where V is large."""
    labels_T = batch.labels.flatten()
    vocab_size = model.config.vocab_size
    if labels_T.numel() * vocab_size <= _CHUNK_LOGITS or not _head_is_plain(model):
        logits = model(
            input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False
        ).logits
        return reduce(logits.flatten(0, 1), labels_T)
    hidden = model.base_model(
        input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False
    ).last_hidden_state
    head: nn.Module = model.get_output_embeddings()
    rows = max(1, _CHUNK_LOGITS // vocab_size)
    hidden_TD = hidden.flatten(0, 1)
    info = getattr(model, "langraft", None)
    kept: KeptTokens = info.context.kept if info else KeptTokens()

    def losses_of(piece: slice) -> Tensor:
        with kept.piece(piece):
            return reduce(head(hidden_TD[piece]), labels_T[piece])

    losses: list[Any] = [
        checkpoint(losses_of, slice(at, at + rows), use_reentrant=False)
        for at in range(0, len(labels_T), rows)
    ]
    return torch.cat(losses, dim=-1)


class TokenLosses(nn.Module):
    """A model whose forward pass is its loss.

    Sharding hangs its hooks on the forward pass of one root; the loss by chunks calls parts of the
    model one by one, so the root must be around all of them.
    """

    def __init__(self, model: nn.Module, *, has_z_loss: bool = False) -> None:
        """Wrap a causal language model."""
        super().__init__()
        self.model = model
        self._has_z_loss = has_z_loss

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Return losses in nats and, where asked for, squared log normalisers, each (T,)."""
        if not self._has_z_loss:
            return token_losses(self.model, batch), None
        nats_T, squared_log_z_T = token_losses_and_squared_log_z(self.model, batch)
        return nats_T, squared_log_z_T


def _cross_entropy(logits_TV: Tensor, labels_T: Tensor) -> Tensor:
    return nn.functional.cross_entropy(
        logits_TV.float(), labels_T, ignore_index=IGNORED, reduction="none"
    )


def _head_is_plain(model: Any) -> bool:
    """Say whether logits are just head(hidden): some families scale or cap them afterwards."""
    config = model.config
    names = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
    return all(getattr(config, name, None) in (None, 1, 1.0) for name in names)
