"""How well a model predicts the answers of conversations it was not trained on.

Shape suffixes: B = examples, S = tokens of the longest, T = B * S.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from langraft.core.conversation import Conversation
from langraft.corpus.reading.records import Wrong
from langraft.corpus.shards import ANSWER, CONTEXT
from langraft.curriculum.loader import Batch, pack_row
from langraft.evaluate.heldout import bits_per_byte
from langraft.instruct.chat_template import ChatExample, ChatFormat
from langraft.train.loss import token_losses

_ROWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerScore:
    """One language's answers under one model.

    Attributes:
        bits_per_byte: Of the answers' text, the token that ends each answer included.
        num_bytes: UTF-8 bytes of the answers.
        num_conversations: That were scored.
        num_left_out: That were not: longer than a row, or refused by the template.
    """

    bits_per_byte: float
    num_bytes: int
    num_conversations: int
    num_left_out: int = 0


@torch.no_grad()
def score_answers(
    model: Any, conversations: Sequence[Conversation], chat: ChatFormat, row_length: int
) -> AnswerScore | None:
    """Score the answers of conversations, each after what was said before it.

    Args:
        model: A causal language model, grafted or not.
        conversations: In one language.
        chat: The model's tokenizer with the template; a conversation it refuses is left out.
        row_length: Tokens that a model surely reads at once; a longer conversation is left out.

    Returns:
        None when there is none to score.
    """
    encoded = [(each, chat.encode(each)) for each in conversations]
    usable = [
        (each, found)
        for each, found in encoded
        if not isinstance(found, Wrong) and all(len(e.tokens) <= row_length for e in found)
    ]
    if not usable:
        return None
    examples = [example for _, found in usable for example in found]
    turns = [turn for each, _ in usable for turn in each.messages]
    num_bytes = sum(len(turn.content.encode()) for turn in turns if turn.role == "assistant")
    device = next(model.parameters()).device
    by_length = sorted(examples, key=lambda example: len(example.tokens))
    nats = 0.0
    for at in range(0, len(by_length), _ROWS):
        batch = _batch(by_length[at : at + _ROWS])
        nats += token_losses(model, batch.to(device)).double().sum().item()
    return AnswerScore(
        bits_per_byte=bits_per_byte([nats], [num_bytes]),
        num_bytes=num_bytes,
        num_conversations=len(usable),
        num_left_out=len(conversations) - len(usable),
    )


def _batch(examples: Sequence[ChatExample]) -> Batch:
    longest = max(len(example.tokens) for example in examples)
    rows = [
        pack_row(
            np.array(example.tokens, dtype=np.int64),
            np.empty(0, dtype=np.int64),
            longest,
            0,
            np.where(np.array(example.is_answer), ANSWER, CONTEXT),
        )
        for example in examples
    ]
    return Batch(*(torch.from_numpy(np.stack(parts)) for parts in zip(*rows, strict=True)))
