from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from langraft.curriculum.loader import Batch, pack_row
from langraft.evaluate.heldout import score_heldout
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_info, graft_model
from langraft.tokenizers.document_tokenizer import DocumentTokenizer
from langraft.train.compute import chunked_loss
from langraft.train.compute.chunked_loss import summed_loss
from tiny import tiny_model

TEXTS = ["the house stands by the river", "το σπίτι είναι δίπλα στο ποτάμι", "a ház"]


@pytest.fixture
def tokenizer(tokenizer_folder: Path) -> DocumentTokenizer:
    return DocumentTokenizer(tokenizer_folder)


def test_bits_per_byte_equals_one_document_at_a_time(tokenizer: DocumentTokenizer) -> None:
    model = tiny_model()
    nats = 0.0
    for tokens in tokenizer.encode(TEXTS):
        ids = torch.from_numpy(tokens)[None]
        log_probability = model(input_ids=ids, use_cache=False).logits.log_softmax(-1)
        nats -= log_probability[0, :-1].gather(1, ids[0, 1:, None]).sum().item()
    num_bytes = sum(len(text.encode()) for text in TEXTS)
    found = score_heldout(model, TEXTS, tokenizer, sequence_length=256)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / num_bytes, rel=1e-5)
    assert found.num_tokens == sum(len(t) - 1 for t in tokenizer.encode(TEXTS))
    assert found.routing == []


@pytest.mark.parametrize("sequence_length", [7, 64])
def test_documents_add_up_and_cost_what_they_cost_alone(
    tokenizer: DocumentTokenizer, sequence_length: int
) -> None:
    model = tiny_model()
    found = score_heldout(model, TEXTS, tokenizer, sequence_length)
    total = sum(found.document_nats) / math.log(2) / sum(found.document_bytes)
    assert found.bits_per_byte == pytest.approx(total)
    assert found.document_bytes == [len(text.encode()) for text in TEXTS]
    if sequence_length == 64:
        for text, nats in zip(TEXTS, found.document_nats, strict=True):
            alone = score_heldout(model, [text], tokenizer, sequence_length)
            assert nats == pytest.approx(alone.document_nats[0], rel=1e-5)


def test_layers_with_fewer_experts_or_none_are_shown_with_the_rest(
    tokenizer: DocumentTokenizer,
) -> None:
    model = graft_model(tiny_model(num_hidden_layers=3), MoELPR(new_experts=(0, 3, 1)))
    found = score_heldout(model, TEXTS, tokenizer, 16, [graft_info(model).recorder])
    assert found.routing[0] == [1.0, 0.0, 0.0, 0.0]
    assert all(share > 0 for share in found.routing[1])
    assert found.routing[2][2:] == [0.0, 0.0]
    assert [sum(shares) for shares in found.routing] == pytest.approx([1.0] * 3)


def test_every_token_but_the_first_of_a_document_is_scored_at_any_row_length(
    tokenizer: DocumentTokenizer,
) -> None:
    found = {score_heldout(tiny_model(), TEXTS, tokenizer, n).num_tokens for n in (8, 11, 64, 256)}
    assert len(found) == 1


def test_a_uniform_model_scores_the_logarithm_of_the_vocabulary(
    tokenizer: DocumentTokenizer,
) -> None:
    model = tiny_model()
    torch.nn.init.zeros_(model.lm_head.weight)
    found = score_heldout(model, TEXTS, tokenizer, 64)
    expected = found.num_tokens * math.log2(model.config.vocab_size) / found.num_bytes
    assert found.bits_per_byte == pytest.approx(expected, rel=1e-6)


def test_routing_shares_sum_to_one_in_every_layer(tokenizer: DocumentTokenizer) -> None:
    model = graft_model(tiny_model(), MoELPR(new_experts=3))
    found = score_heldout(model, TEXTS, tokenizer, 16, [graft_info(model).recorder])
    assert len(found.routing) == 2
    for shares in found.routing:
        assert len(shares) == 4
        assert sum(shares) == pytest.approx(1.0)


def test_attention_does_not_cross_documents() -> None:
    model = tiny_model()
    first, second = torch.arange(1, 20), torch.arange(50, 62)
    tokens = torch.cat([first, second])
    row = pack_row(tokens.numpy(), torch.tensor([19]).numpy(), 31, 0)
    batch = Batch(*(torch.from_numpy(part)[None] for part in row))
    packed = model(input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False)
    alone = model(input_ids=second[None], use_cache=False)
    torch.testing.assert_close(packed.logits[:, 19:], alone.logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("is_rare", [True, False])
def test_chunked_losses_equal_whole_ones_with_their_gradients(
    is_rare: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 320, (49,), generator=generator).numpy()
    row = pack_row(tokens, torch.tensor([7, 30]).numpy(), 48, 0)
    batch = Batch(*(torch.from_numpy(part)[None] for part in row))
    results = []
    for chunk in (512, 10):
        monkeypatch.setattr(chunked_loss, "CHUNK_TOKENS_CPU", chunk)
        method = MoELPR(token_rows="rare" if is_rare else "frozen")
        model: Any = graft_model(tiny_model(), method, rare_tokens=[3, 4, 5] if is_rare else ())
        model.requires_grad_(True)
        total, losses, _ = summed_loss(model, batch)
        total.backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        results.append((losses.detach(), gradients))
    torch.testing.assert_close(results[0][0], results[1][0])
    assert results[0][1].keys() == results[1][1].keys()
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(gradient, results[1][1][name], atol=1e-5, rtol=1e-4)
