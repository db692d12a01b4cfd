from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from langraft.core.document import Probe
from langraft.core.recipe import Languages
from langraft.corpus.tokenizer import DocumentTokenizer
from langraft.curriculum.loader import Batch, pack_row
from langraft.evaluate.evaluation import Evaluation
from langraft.evaluate.heldout import HeldoutScore, score_heldout
from langraft.evaluate.probes import score_probes
from langraft.evaluate.scorecard import Cost, Parameters, compare
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_info, graft_model
from langraft.train import loss as loss_module
from langraft.train.loss import summed_loss
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
    for chunk in (2**26, 320 * 10):
        monkeypatch.setattr(loss_module, "_CHUNK_LOGITS", chunk)
        method = MoELPR(token_rows="rare" if is_rare else "frozen")
        model: Any = graft_model(tiny_model(), method, rare_tokens=[3, 4, 5] if is_rare else ())
        model.requires_grad_(True)
        total, losses = summed_loss(model, batch)
        total.backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        results.append((losses.detach(), gradients))
    torch.testing.assert_close(results[0][0], results[1][0])
    assert results[0][1].keys() == results[1][1].keys()
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(gradient, results[1][1][name], atol=1e-5, rtol=1e-4)


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


def evaluation(**bits: float) -> Evaluation:
    heldout = {
        code: HeldoutScore(
            bits_per_byte=value,
            num_bytes=100,
            num_tokens=50,
            routing=[],
            document_nats=[value * 100 * math.log(2)],
            document_bytes=[100],
        )
        for code, value in bits.items()
    }
    probes = {"s": {"el": {"stated": {"accuracy": bits["el"], "chance": 0.25, "items": 4}}}}
    return Evaluation(heldout=heldout, probes=probes, samples={})


COST = Cost(
    tokens=10,
    training_flops=1e6,
    seconds=1.0,
    parameters=Parameters(total=3, active=2, trainable=1),
)


def test_a_scorecard_equals_the_published_formulas() -> None:
    languages = Languages(original=("en", "es"), new=("el", "hu"), transfer=("tr",))
    card = compare(
        evaluation(en=1.0, es=2.0, el=3.0, hu=4.0, tr=5.0),
        evaluation(en=1.25, es=1.9, el=2.0, hu=3.5, tr=4.75),
        languages=languages,
        method="moe_lpr",
        seed=3,
        cost=COST,
    )
    assert card.gain == pytest.approx((1.0 + 0.5) / 2)
    assert card.retention == pytest.approx((1.0 / 1.25 + 2.0 / 1.9) / 2)
    assert card.forgetting == pytest.approx(0.25 / 2)
    assert card.transfer == pytest.approx(0.25)
    found = card.to_json()
    assert found["bits_per_byte"]["el"] == {"role": "new", "before": 3.0, "after": 2.0}
    assert found["probes"]["s"]["el"]["stated"] == {
        "before": 3.0,
        "after": 2.0,
        "chance": 0.25,
        "items": 4,
    }
    assert set(found) == {
        *("method", "seed", "tokens", "gain", "retention", "forgetting", "transfer"),
        *("mixed", "guarded", "bits_per_byte", "probes", "parameters", "training_flops", "seconds"),
        *("answers", "tasks", "task_means", "not_run"),
    }


def test_without_transfer_languages_there_is_no_transfer() -> None:
    languages = Languages(original=("en",), new=("el",))
    both = evaluation(en=1.0, el=2.0)
    card = compare(both, both, languages=languages, method="full", seed=0, cost=COST)
    assert card.transfer is None
    assert (card.gain, card.retention, card.forgetting) == (0.0, 1.0, 0.0)


def test_a_scorecard_cannot_be_built_without_its_baseline() -> None:
    languages = Languages(original=("en",), new=("el",))
    after: Callable[..., Any] = compare
    with pytest.raises(TypeError):
        after(evaluation(en=1.0, el=2.0), languages=languages, method="x", seed=0, cost=COST)


def test_an_evaluation_survives_its_file(tmp_path: Path) -> None:
    before = evaluation(en=1.0, el=2.0)
    before.write(tmp_path)
    assert Evaluation.read(tmp_path) == before
