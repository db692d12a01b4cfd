"""Bits per byte on held-out text, and the routing of each language's tokens.

Shape suffixes: L = layers, E = experts, T = tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from langraft.curriculum.loader import IGNORED, Batch, pack_row
from langraft.graft.moe.recorder import RoutingRecorder
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.train.compute.chunked_loss import TokenLosses
from langraft.train.compute.document_attention import attend_by_document

_ROWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldoutScore:
    """Score of one language's held-out text under one model.

    Attributes:
        bits_per_byte: Comparable across tokenizers; lower is better.
        num_bytes: UTF-8 bytes of the text.
        num_tokens: Tokens that were predicted.
        routing: Mean routing weight by layer and expert, (L, E), rows summing to 1; empty for a
            model without experts.
        document_nats: Total loss of each document.
        document_bytes: UTF-8 bytes of each document.
    """

    bits_per_byte: float
    num_bytes: int
    num_tokens: int
    routing: list[list[float]]
    document_nats: list[float]
    document_bytes: list[int]


@torch.no_grad()
def score_heldout(
    model: Any,
    texts: Sequence[str],
    tokenizer: DocumentTokenizer,
    sequence_length: int,
    recorders: Sequence[RoutingRecorder] = (),
    losses_of: Callable[[Batch], Tensor] | None = None,
) -> HeldoutScore:
    """Score texts in one language.

    Documents are packed as in training: each token is predicted from at most ``sequence_length``
    preceding tokens of its own document. A document's first token has no context and is not
    predicted, but its bytes count.

    Args:
        model: A causal language model, grafted or not.
        texts: Documents.
        tokenizer: The model's tokenizer.
        sequence_length: Tokens of a row.
        recorders: Those of the grafted model's expansions, in order; without any no routing is
            reported. A layer is read from the last expansion that has experts there.
        losses_of: Returns the loss in nats of each position of a batch, on the model's device;
            training passes its own, which handles sharding and precision.
    """
    own_losses = TokenLosses(model)
    device = next(model.parameters()).device
    documents = tokenizer.encode(texts)
    document_of_token = np.repeat(np.arange(len(documents)), [len(d) for d in documents])
    nats = np.zeros(len(documents))
    num_tokens, at = 0, 0
    shares: dict[int, Tensor] = {}
    for batch in _batches(documents, sequence_length):
        with ExitStack() as stack:
            recorded = [stack.enter_context(recorder.recording()) for recorder in recorders]
            if losses_of is None:
                stack.enter_context(attend_by_document(own_losses))
                losses_T = own_losses(batch.to(device)).nats_T
            else:
                losses_T = losses_of(batch.to(device))
            routing_by_layer = {k: v for found in recorded for k, v in found.items()}
        is_scored_T = batch.labels.flatten() != IGNORED
        owner_T = document_of_token[at : at + len(is_scored_T)]
        np.add.at(nats, owner_T, losses_T.double().cpu().numpy()[: len(owner_T)])
        at += len(is_scored_T)
        num_tokens += int(is_scored_T.sum())
        for layer, routing in routing_by_layer.items():
            found_E = routing.shares_TE()[is_scored_T.to(device)].double().sum(0).cpu()
            shares[layer] = shares[layer] + found_E if layer in shares else found_E
    document_bytes = [len(text.encode()) for text in texts]
    return HeldoutScore(
        bits_per_byte=bits_per_byte(nats.tolist(), document_bytes),
        num_bytes=sum(document_bytes),
        num_tokens=num_tokens,
        routing=_routing(shares, num_tokens, model.config.num_hidden_layers),
        document_nats=nats.tolist(),
        document_bytes=document_bytes,
    )


def bits_per_byte(nats: Sequence[float], num_bytes: Sequence[int]) -> float:
    """Return the bits per byte of all documents together."""
    return sum(nats) / math.log(2) / max(1, sum(num_bytes))


def _routing(shares: dict[int, Tensor], num_tokens: int, num_layers: int) -> list[list[float]]:
    """Return mean routing weights (L, E); a layer without experts counts as expert 0."""
    if not shares:
        return []
    mean_LE = torch.zeros(num_layers, max(len(of_layer) for of_layer in shares.values()))
    mean_LE[:, 0] = 1.0
    for layer, of_layer in shares.items():
        mean_LE[layer, 0] = 0.0
        mean_LE[layer, : len(of_layer)] = of_layer / num_tokens
    return mean_LE.tolist()


def _batches(documents: Sequence[NDArray[Any]], length: int) -> Iterator[Batch]:
    """Yield the documents end to end as batches of rows, at most eight at once."""
    stream = np.concatenate(documents)
    starts = np.cumsum([len(document) for document in documents])[:-1]
    rows: list[tuple[Any, ...]] = []
    for first in range(0, len(stream), length):
        tokens = stream[first : first + length + 1]
        low, high = np.searchsorted(starts, [first, first + len(tokens)], side="left")
        inside = starts[low:high] - first
        rows.append(pack_row(tokens, inside[inside > 0], length, 0))
        if len(rows) == _ROWS or first + length >= len(stream):
            yield Batch(*(torch.from_numpy(np.stack(parts)) for parts in zip(*rows, strict=True)))
            rows = []
