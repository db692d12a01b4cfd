"""The side loss ``retain``: on text of original languages the graft is held to its base.

The next-token loss of replayed text teaches what the text says, also where the base knew better;
the divergence from the base's own next-token distribution asks for nothing but to stay as it was.

Shape suffixes: B = rows of a batch, S = tokens of a row, T = B * S, N = rows that the base sees.
"""

from __future__ import annotations

import torch
from torch import Tensor

from langraft.curriculum.loader import IGNORED, Batch
from langraft.train.compute.base_opinion import BaseOpinion
from langraft.train.prepare import PreparedStage


def retained_tokens(prepared: PreparedStage, batch: Batch) -> Tensor:
    """Return for which tokens ``retain`` takes the place of the next-token loss, (B, S).

    Those of original languages that have a label, and none where the stage has no such loss. The
    base cannot read what an extended tokenizer added: from such a token to the end of its
    document, and where it would be the next one, the loss stays the next token's.
    """
    if not prepared.retain_weight:
        return torch.zeros_like(batch.is_token)
    has_label_BS = (batch.labels != IGNORED) & batch.is_token
    is_retained_BS = prepared.is_original.to(batch.labels.device)[batch.language_ids] & has_label_BS
    if prepared.info.extension is None:
        return is_retained_BS
    first_new_id = prepared.info.extension.first_new_id
    return (
        is_retained_BS
        & (batch.labels < first_new_id)
        & ~_seen_in_document(batch.input_ids >= first_new_id, batch.position_ids)
    )


def base_opinion(
    prepared: PreparedStage, batch: Batch, num_next_per_retained: Tensor
) -> BaseOpinion | None:
    """Let the base read the rows of a micro-batch that hold retained tokens.

    Args:
        prepared: The stage.
        batch: The micro-batch, on the model's device.
        num_next_per_retained: Next-token labels of the step for each of its retained tokens, by
            which the loss becomes a mean over the latter; shape ().

    Returns:
        None where the stage has no such loss, or the micro-batch no such token.
    """
    if not prepared.retain_weight:
        return None
    is_retained_BS = retained_tokens(prepared, batch)
    row_N = is_retained_BS.any(dim=1).nonzero().squeeze(1)
    if not len(row_N):
        if prepared.processes.world_size == 1:
            return None
        row_N = row_N.new_zeros(1)  # a pass gathers shards, so all processes make one
    model = prepared.model
    model.eval()  # without dropout
    with prepared.autocast():
        hidden_RD, logits_of = prepared.token_losses(batch.take(row_N), is_of_base=True)
    model.train()
    place_BS = torch.full_like(batch.input_ids, -1)
    place_BS[row_N] = torch.arange(len(hidden_RD), device=row_N.device).view(len(row_N), -1)
    return BaseOpinion(
        hidden_RD=hidden_RD,
        place_T=place_BS.masked_fill(~is_retained_BS, -1).flatten(),
        logits_of=logits_of,
        weight=prepared.retain_weight * num_next_per_retained,
    )


def _seen_in_document(is_marked_BS: Tensor, position_BS: Tensor) -> Tensor:
    """Say of each token whether it or one before it in its document is marked, (B, S)."""
    count_BS = is_marked_BS.long().cumsum(dim=1)
    before_document_BS = torch.where(position_BS == 0, count_BS - is_marked_BS.long(), 0)
    return count_BS > before_document_BS.cummax(dim=1).values
