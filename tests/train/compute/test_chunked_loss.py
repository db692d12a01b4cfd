from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stage_setup import grafted, with_new_tokens
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from langraft.curriculum.loader import IGNORED, Batch
from langraft.graft.freeze import set_trainable
from langraft.graft.methods.full import Full
from langraft.graft.surgery import graft_info, graft_model
from langraft.graft.wrappers.token_rows import RareRowHead
from langraft.train.compute import chunked_loss
from langraft.train.compute.chunked_loss import summed_loss, token_losses
from thorough import examples
from tiny import DECODERS, VOCAB_SIZE, tiny_model

Z_LOSS = 0.1


def batch(rows: int = 2, length: int = 24, *, ignored: float = 0.2) -> Batch:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCAB_SIZE, (rows, length), generator=generator)
    is_ignored = torch.rand(rows, length, generator=generator) < ignored
    labels = ids.roll(-1, 1).masked_fill(is_ignored, IGNORED)
    positions = torch.arange(length).repeat(rows, 1)
    return Batch(ids, labels, positions, torch.zeros_like(ids), torch.ones_like(ids).bool())


def plain(model: Any, text: Batch, z_loss: float = 0.0) -> Tensor:
    """Return the sum of losses from all logits at once."""
    logits = model(
        input_ids=text.input_ids, position_ids=text.position_ids, use_cache=False
    ).logits.flatten(0, 1)
    labels = text.labels.flatten()
    squared = logits.logsumexp(-1).square() * (labels != IGNORED)
    total = nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    return total + z_loss * squared.sum()


def gradients(model: Any, total: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    total.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(model: Any, text: Batch, z_loss: float = 0.0) -> None:
    expected = plain(model, text, z_loss)
    found = summed_loss(model, text, z_loss=z_loss).total
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    first, second = gradients(model, expected * 0.37), gradients(model, found * 0.37)
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        torch.testing.assert_close(second[name], gradient, rtol=1e-4, atol=1e-4, msg=name)


@settings(max_examples=examples(60))
@given(
    tokens=st.integers(1, 33),
    width=st.integers(1, 9),
    vocab=st.integers(2, 40),
    chunk=st.integers(1, 40),
    ignored=st.sampled_from([0.0, 0.5, 1.0]),
    z_loss=st.sampled_from([0.0, 0.3]),
    is_trained=st.booleans(),
    has_bias=st.booleans(),
)
def test_any_shape_has_the_loss_and_the_gradients_of_plain_cross_entropy(
    tokens: int,
    width: int,
    vocab: int,
    chunk: int,
    ignored: float,
    z_loss: float,
    is_trained: bool,
    has_bias: bool,
) -> None:
    generator = torch.Generator().manual_seed(tokens + 100 * vocab)
    hidden = (3 * torch.randn(tokens, width, generator=generator)).requires_grad_()
    head = nn.Linear(width, vocab, bias=has_bias).requires_grad_(is_trained)
    labels = torch.randint(0, vocab, (tokens,), generator=generator)
    labels[torch.rand(tokens, generator=generator) < ignored] = IGNORED
    trained = list(head.parameters()) if is_trained else []
    logits = head(hidden)
    expected = nn.functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="none")
    squared = logits.logsumexp(-1).square() * (labels != IGNORED)
    total = expected.sum() + z_loss * squared.sum()
    found, nats, _ = chunked_loss.SummedLoss.apply(
        hidden, labels, lambda piece, _: head(piece), chunk, z_loss, None, *trained
    )
    torch.testing.assert_close(nats, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found, total, rtol=1e-5, atol=1e-4)
    wanted = torch.autograd.grad(total * 0.37, [hidden, *trained])
    for first, second in zip(
        wanted, torch.autograd.grad(found * 0.37, [hidden, *trained]), strict=True
    ):
        torch.testing.assert_close(second, first, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model_type", DECODERS)
def test_every_family_has_its_own_logits_however_it_scales_or_caps_them(
    model_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked_loss, "CHUNK_TOKENS_CPU", 7)
    model = tiny_model(model_type).requires_grad_(True)
    assert_same(model, batch())


def test_logits_of_gemma_are_capped() -> None:
    capped, free = (tiny_model("gemma2", final_logit_softcapping=cap) for cap in (1.0, None))
    assert token_losses(capped, batch()).max() < token_losses(free, batch()).max()


@pytest.mark.parametrize("z_loss", [0.0, Z_LOSS])
@pytest.mark.parametrize("make", ["rare rows", "new tokens", "full", "tied"])
def test_whatever_trains_in_the_output_matrix_gets_its_gradient(
    make: str, z_loss: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked_loss, "CHUNK_TOKENS_CPU", 7)
    trains: Any
    if make == "rare rows":
        model, trains = grafted(), ("experts", "routers", "token_rows")
    elif make == "new tokens":
        model, stage = with_new_tokens()
        trains = stage.trains
    else:
        base = tiny_model(tie_word_embeddings=make == "tied")
        model, trains = graft_model(base, Full()), "everything"
    set_trainable(model, trains, token_rows=graft_info(model).method.token_rows)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    assert_same(model, batch(), z_loss)


def test_no_logits_are_kept_and_none_are_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked_loss, "CHUNK_TOKENS_CPU", 6)
    model = grafted()
    set_trainable(model, ("experts",), token_rows="rare")
    seen: list[int] = []
    head = model.get_output_embeddings()
    head.register_forward_hook(lambda _, __, logits: seen.append(len(logits)))
    kept: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        total = summed_loss(model, batch()).total
    total.backward()
    assert seen == [6] * 8
    assert max(kept) < 48 * VOCAB_SIZE


def test_losses_without_a_gradient_cost_a_forward_pass_alone() -> None:
    model = grafted()
    set_trainable(model, ("experts", "token_rows"), token_rows="rare")
    with torch.no_grad(), FlopCounterMode(display=False) as forward:
        model(batch().input_ids)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        token_losses(model, batch())
    assert counter.get_total_flops() == forward.get_total_flops()


def test_corrected_rows_are_built_once_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked_loss, "CHUNK_TOKENS_CPU", 6)
    model, built = grafted(), list[int]()
    real = RareRowHead.corrected
    monkeypatch.setattr(RareRowHead, "corrected", lambda head: (built.append(1), real(head))[1])
    token_losses(model, batch())
    assert len(built) == 1
    with torch.no_grad():
        model.get_output_embeddings().deltas.delta += 1.0
    assert not torch.allclose(token_losses(model, batch()), token_losses(tiny_model(), batch()))


def test_bfloat16_losses_are_near_those_in_float32() -> None:
    exact = token_losses(tiny_model(), batch())
    with torch.autocast("cpu", torch.bfloat16):
        rounded = token_losses(tiny_model(), batch())
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.3)


@pytest.mark.parametrize("rows", [1, 2])
def test_a_batch_without_labels_has_no_loss_and_no_gradient(rows: int) -> None:
    model = grafted()
    set_trainable(model, ("experts", "token_rows"), token_rows="rare")
    total, nats, _ = summed_loss(model, batch(rows, ignored=1.1), z_loss=Z_LOSS)
    total.backward()
    assert total.item() == 0
    assert not nats.any()
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)


def test_guarded_sequences_keep_the_losses_of_the_base() -> None:
    model = grafted()
    with torch.no_grad():
        model.get_output_embeddings().deltas.delta += 1.0
    with graft_info(model).guard.guarding([True, False]):
        guarded = token_losses(model, batch()).view(2, -1)
    torch.testing.assert_close(guarded[0], token_losses(tiny_model(), batch()).view(2, -1)[0])
    assert not torch.allclose(guarded[1], token_losses(tiny_model(), batch()).view(2, -1)[1])
