from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from stage_setup import RARE, grafted, make_loader, training, write_shards
from test_train_stage import train
from torch import nn

from langraft.curriculum.loader import Batch
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model
from langraft.train.compute import chunked_loss, precision
from langraft.train.compute.chunked_loss import summed_loss, token_losses
from langraft.train.compute.precision import keep_float32
from langraft.train.log import read_log
from langraft.train.loop import Gauge
from tiny import VOCAB_SIZE, tiny_model


def batch() -> Batch:
    ids = torch.randint(0, VOCAB_SIZE, (2, 24), generator=torch.Generator().manual_seed(0))
    labels = ids.roll(-1, 1)
    labels[:, 10] = -100
    positions = torch.arange(24).repeat(2, 1)
    return Batch(ids, labels, positions, torch.zeros_like(ids), torch.ones_like(ids).bool())


def run(model: Any, parts: tuple[str, ...]) -> tuple[torch.Tensor, set[torch.dtype]]:
    """Return losses under bfloat16 autocast and the dtypes that layers got."""
    seen = set[torch.dtype]()
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, args, kwargs: seen.add((args or (kwargs["hidden_states"],))[0].dtype),
            with_kwargs=True,
        )
        for layer in (model.model.layers if hasattr(model, "model") else model.transformer.h)
    ]
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), keep_float32(model, parts):
        found = token_losses(model, batch())
    for hook in hooks:
        hook.remove()
    return found, seen


@pytest.mark.parametrize("model_type", ["llama", "gpt2"])
def test_the_residual_stream_of_a_bfloat16_base_is_float32(model_type: str) -> None:
    model = tiny_model(model_type).to(torch.bfloat16)
    assert torch.bfloat16 in run(model, ())[1]
    assert run(model, ("residual",))[1] == {torch.float32}
    assert torch.bfloat16 in run(model, ())[1]  # nothing of it is left


@pytest.mark.parametrize("is_masked", [False, True])
def test_attention_in_float32_rounds_its_result_alone(is_masked: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    parts = torch.randn(3, 1, 2, 64, 16, generator=generator).mul(2).bfloat16()
    mask = torch.zeros(64, 64).masked_fill(torch.ones(64, 64).triu(1).bool(), -1e9)
    query, key, value = (part.double() for part in parts)
    exact = (query @ key.mT / 4 + mask).softmax(-1) @ value
    module = nn.Module()
    module.is_causal = True
    with torch.autocast("cpu", torch.bfloat16):
        given = mask.bfloat16()[None, None] if is_masked else None
        found, _ = precision.sdpa_float32_forward(module, *parts, given, scaling=0.25)
    torch.testing.assert_close(found, exact.float().bfloat16().transpose(1, 2))


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "qwen3"])
def test_a_model_has_its_own_attention_back_afterwards(model_type: str) -> None:
    model = tiny_model(model_type)
    before, plain = model.config._attn_implementation, token_losses(model, batch())
    run(model, ("residual", "attention"))
    assert model.config._attn_implementation == before
    assert torch.equal(token_losses(model, batch()), plain)


def test_attention_sees_float32_inside_and_its_own_dtype_outside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[torch.dtype] = []
    real = nn.functional.scaled_dot_product_attention

    def spy(query: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        seen.append(query.dtype)
        return real(query, *args, **kwargs)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", spy)
    run(tiny_model(), ("attention",))
    assert set(seen) == {torch.float32}


@pytest.mark.parametrize("parts", [(), ("residual",), ("residual", "attention")])
def test_a_frozen_bfloat16_base_is_measured_on_the_way(
    tmp_path: Path, parts: tuple[str, ...]
) -> None:
    write_shards(tmp_path / "shards")
    loader = make_loader(tmp_path / "shards")
    base = tiny_model().to(torch.bfloat16)
    model = graft_model(base, MoELPR(new_experts=2, token_rows="rare"), rare_tokens=RARE)
    seen: list[float] = []

    def measure(losses_of: Callable[[Batch], torch.Tensor]) -> dict[str, float]:
        with torch.no_grad():
            seen.append(float(losses_of(loader.rows(range(2))).mean()))
        return {"el": seen[-1]}

    settings = training(dtype="bfloat16", keep_float32=list(parts))
    gauge = Gauge(every_tokens=300, measure=measure)
    train(model, loader, tmp_path / "run", training=settings, gauge=gauge)
    assert len(seen) == 2
    assert seen[-1] == pytest.approx(read_log(tmp_path / "run")[-1]["loss"], abs=1.0)


def test_float32_parts_change_nothing_in_a_float32_model() -> None:
    model = tiny_model()
    plain = token_losses(model, batch())
    with keep_float32(model, ("residual", "attention")):
        torch.testing.assert_close(token_losses(model, batch()), plain, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_the_z_loss_is_the_squared_log_of_the_normaliser(
    monkeypatch: pytest.MonkeyPatch, is_chunked: bool
) -> None:
    if is_chunked:
        monkeypatch.setattr(chunked_loss, "CHUNK_TOKENS_CPU", 7)
    model, given = grafted(), batch()
    logits = model(input_ids=given.input_ids, position_ids=given.position_ids).logits
    log_z = logits.float().exp().sum(-1).log().flatten()
    total, nats, _ = summed_loss(model, given, z_loss=0.5)
    has_label = given.labels.flatten() != -100
    squared = log_z[has_label].square().sum()
    torch.testing.assert_close(total, nats.sum() + 0.5 * squared, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(nats, token_losses(model, given), rtol=1e-5, atol=1e-5)


def test_the_z_loss_makes_logits_smaller(tmp_path: Path) -> None:
    write_shards(tmp_path / "shards")
    loader = make_loader(tmp_path / "shards")
    sizes: list[float] = []
    for weight in (0.0, 1.0):
        model = grafted()
        train(model, loader, tmp_path / str(weight), training=training(z_loss=weight))
        with torch.no_grad():
            total, nats, _ = summed_loss(model, batch(), z_loss=1.0)
            sizes.append(float(total - nats.sum()))
    assert sizes[1] < 0.9 * sizes[0]
