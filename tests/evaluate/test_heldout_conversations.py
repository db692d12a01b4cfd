from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from langraft.chat.template import ChatTemplate
from langraft.core.conversation import Conversation, Message
from langraft.evaluate.heldout_conversations import score_answers
from tiny import tiny_model

ROW = 256
DIALOGUE = ("where is the house", "by the river", "and the man?", "ποτάμι")


def conversation(*turns: str) -> Conversation:
    roles: Any = ("user", "assistant")
    messages = tuple(
        Message(role=roles[number % 2], content=text) for number, text in enumerate(turns)
    )
    return Conversation(messages=messages, language="en", id="1")


@pytest.fixture
def chat(tokenizer_folder: Path) -> ChatTemplate:
    tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_folder)
    return ChatTemplate.load(tokenizer, "polylm")


def test_answers_are_scored_after_what_was_said_before_them(chat: ChatTemplate) -> None:
    model = tiny_model()
    both = [conversation(*DIALOGUE), conversation("old man", "walks")]
    nats = 0.0
    for each in both:
        (example,) = chat.encode(each)  # pyright: ignore[reportGeneralTypeIssues]
        ids = torch.tensor([example.tokens])
        of_token = model(input_ids=ids).logits.log_softmax(-1)
        for place, token in enumerate(example.tokens):
            if example.is_answer[place]:
                nats -= of_token[0, place - 1, token].item()
    num_bytes = len("by the riverποτάμιwalks".encode())
    found = score_answers(model, both, chat, ROW)
    assert found is not None
    assert found.num_bytes == num_bytes
    assert found.num_conversations == 2
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / num_bytes, rel=1e-5)


def test_what_the_template_refuses_is_left_out(chat: ChatTemplate) -> None:
    refused = conversation("say <|endoftext|>", "no")
    assert score_answers(tiny_model(), [refused], chat, ROW) is None
    found = score_answers(tiny_model(), [refused, conversation("old man", "walks")], chat, ROW)
    assert found is not None
    assert (found.num_conversations, found.num_left_out) == (1, 1)


def test_what_is_longer_than_a_row_is_left_out_and_counted(chat: ChatTemplate) -> None:
    model: Any = tiny_model("gpt2", n_positions=48)
    short, long = conversation("old man", "walks"), conversation("old man", "walks " * 60)
    found = score_answers(model, [long, short], chat, 48)
    alone = score_answers(model, [short], chat, 48)
    assert found is not None
    assert alone is not None
    assert found == replace(alone, num_left_out=1)
    assert score_answers(model, [long], chat, 48) is None
