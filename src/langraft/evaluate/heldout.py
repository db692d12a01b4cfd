"""Bits per byte on held-out text, and where each language's tokens were routed meanwhile.

Shape suffixes: L = layers, E = experts, T = tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from langraft.corpus.tokenizer import DocumentTokenizer
from langraft.curriculum.loader import IGNORED, Batch, pack_row
from langraft.graft.recorder import RoutingRecorder
from langraft.train.loss import token_losses

_ROWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldoutScore:
    """One language's held-out text under one model.

    Attributes:
        bits_per_byte: Comparable across tokenizers; lower is better.
        num_bytes: UTF-8 bytes of the text.
        num_tokens: Tokens that were predicted.
        routing: Share of routing weight by layer and expert, (L, E), rows summing to 1; empty
            for a model without experts.
    """

    bits_per_byte: float
    num_bytes: int
    num_tokens: int
    routing: list[list[float]]


@torch.no_grad()
def score_heldout(
    model: Any,
    texts: Sequence[str],
    tokenizer: DocumentTokenizer,
    sequence_length: int,
    recorder: RoutingRecorder | None = None,
) -> HeldoutScore:
    """Score texts in one language.

    Documents are packed as in training: each token is predicted from its own document, from at
    most ``sequence_length`` tokens before it. A document's first token has no context and is not
    predicted; its bytes count.

    Args:
        model: A causal language model, grafted or not.
        texts: Documents.
        tokenizer: The base's.
        sequence_length: Tokens of a row.
        recorder: Of the grafted model; without it no routing is reported.
    """
    device = next(model.parameters()).device
    nats, num_tokens = 0.0, 0
    weight_LE: Tensor | None = None
    for batch in _batches(texts, tokenizer, sequence_length):
        with (recorder or RoutingRecorder()).recording() as routing_by_layer:
            losses_T = token_losses(model, batch.to(device))
            is_scored_T = (batch.labels.flatten() != IGNORED).to(device)
            nats += losses_T.double().sum().item()
            num_tokens += int(is_scored_T.sum())
            if routing_by_layer:
                layers = [
                    routing.shares_TE()[is_scored_T].double().sum(0)
                    for _, routing in sorted(routing_by_layer.items())
                ]
                found_LE = torch.stack(layers)
                weight_LE = found_LE if weight_LE is None else weight_LE + found_LE
    num_bytes = sum(len(text.encode()) for text in texts)
    return HeldoutScore(
        bits_per_byte=nats / math.log(2) / max(1, num_bytes),
        num_bytes=num_bytes,
        num_tokens=num_tokens,
        routing=[] if weight_LE is None else (weight_LE / num_tokens).tolist(),
    )


def _batches(texts: Sequence[str], tokenizer: DocumentTokenizer, length: int) -> Iterator[Batch]:
    documents = tokenizer.encode(texts)
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
