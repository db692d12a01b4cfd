"""Bits per byte on the answers of held-out conversations.

Shape suffixes: B = examples, S = tokens of the longest, T = B * S.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from langraft.chat.messages import InvalidConversation
from langraft.chat.template import ChatExample, ChatTemplate
from langraft.core.conversation import Conversation
from langraft.corpus.storage.shards import ANSWER, CONTEXT
from langraft.curriculum.loader import Batch, pack_row
from langraft.evaluate.heldout import bits_per_byte
from langraft.train.compute.chunked_loss import token_losses

_ROWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerScore:
    """Score of one language's answers under one model.

    Attributes:
        bits_per_byte: Of the answers, including the token that ends each answer.
        num_bytes: UTF-8 bytes of the answers.
        num_conversations: Conversations that were scored.
        num_left_out: Conversations that were not: longer than a row, or refused by the template.
    """

    bits_per_byte: float
    num_bytes: int
    num_conversations: int
    num_left_out: int = 0


@torch.no_grad()
def score_answers(
    model: Any, conversations: Sequence[Conversation], chat: ChatTemplate, row_length: int
) -> AnswerScore | None:
    """Score the answers of conversations, each given the turns before it.

    Args:
        model: A causal language model, grafted or not.
        conversations: Conversations in one language.
        chat: The model's tokenizer with the template; a conversation it refuses is left out.
        row_length: Longest example in tokens; a longer conversation is left out.

    Returns:
        The score, or None without any conversation to score.
    """
    usable: list[Conversation] = []
    examples: list[ChatExample] = []
    for conversation in conversations:
        with contextlib.suppress(InvalidConversation):
            encoded = chat.encode(conversation)
            if all(len(example.tokens) <= row_length for example in encoded):
                usable.append(conversation)
                examples += encoded
    if not usable:
        return None
    messages = [message for conversation in usable for message in conversation.messages]
    num_bytes = sum(len(m.content.encode()) for m in messages if m.role == "assistant")
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
