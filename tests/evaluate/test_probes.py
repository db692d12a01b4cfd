from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from langraft.core.document import Probe
from langraft.evaluate.probes import score_probes
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from tiny import tiny_model


@pytest.fixture
def tokenizer(tokenizer_folder: Path) -> DocumentTokenizer:
    return DocumentTokenizer(tokenizer_folder)


def probe(choices: tuple[str, ...], answer: int, **changes: Any) -> Probe:
    values = {"language": "en", "group": "test", "stated_in": ("en",), "prompt": "the house"}
    return Probe(choices=choices, answer=answer, **(values | changes))


def test_the_likeliest_choice_per_byte_wins(tokenizer: DocumentTokenizer) -> None:
    model = tiny_model()
    choices = (" stands", " river", " by the old man")
    scores = []
    for choice in choices:
        ids = torch.from_numpy(tokenizer.encode(["the house" + choice])[0][:-1])[None]
        num_prompt = len(tokenizer.encode(["the house"])[0]) - 1
        log_probability = model(input_ids=ids, use_cache=False).logits.log_softmax(-1)
        of_tokens = log_probability[0, :-1].gather(1, ids[0, 1:, None])[num_prompt - 1 :]
        scores.append(of_tokens.sum().item() / len(choice.encode()))
    best = scores.index(max(scores))
    for answer in range(3):
        found = score_probes(model, [probe(choices, answer)], tokenizer)
        assert found["stated"]["accuracy"] == float(answer == best)


def test_facts_stated_in_english_only_are_counted_apart(tokenizer: DocumentTokenizer) -> None:
    found = score_probes(
        tiny_model(),
        [
            probe((" a", " b"), 0),
            probe((" a", " b", " c", " d"), 0, language="el"),
            probe((" a", " b"), 1, language="el", stated_in=("en", "el")),
        ],
        tokenizer,
    )
    assert found["stated"]["items"] == 2
    assert found["english_only"]["items"] == 1
    assert found["english_only"]["chance"] == 0.25
