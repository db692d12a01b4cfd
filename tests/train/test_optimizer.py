from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from stage_setup import grafted, make_loader, training, write_shards
from test_train_stage import StopAfter, same_weights, train
from torch import nn

from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.train.log import read_log
from langraft.train.optimizer import learning_rate, make_optimizer, set_learning_rate


def rates(num_steps: int, **changes: object) -> list[float]:
    values = {"name": "s", "tokens": 1, "mixture": {"en": 1}, "lr": 1.0, "warmup": 0.1}
    stage = Stage.model_validate(values | changes)
    return [learning_rate(step, num_steps, stage) for step in range(num_steps)]


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "constant"])
def test_the_rate_rises_linearly_to_its_peak_first(schedule: str) -> None:
    found = rates(100, schedule=schedule)
    assert found[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert max(found) == pytest.approx(1.0, abs=1e-3)


def test_cosine_falls_to_the_final_share_and_never_rises() -> None:
    found = rates(100, schedule="cosine", final_lr=0.1)
    assert found[-1] == pytest.approx(0.1)
    assert sorted(found[10:], reverse=True) == found[10:]
    assert found[54] == pytest.approx(0.55, abs=0.02)  # halfway


def test_wsd_is_flat_until_the_decay_and_then_linear() -> None:
    found = rates(100, schedule="wsd", decay=0.2, final_lr=0.0)
    assert found[10:80] == [1.0] * 70
    assert found[80:] == pytest.approx([1 - n / 20 for n in range(1, 21)])


def test_constant_stays() -> None:
    assert set(rates(50, schedule="constant")[5:]) == {1.0}


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_a_stage_of_very_few_steps_has_finite_positive_rates(num_steps: int) -> None:
    for schedule in ("cosine", "wsd", "constant"):
        assert all(0 < rate <= 1 for rate in rates(num_steps, schedule=schedule))


def test_decay_spares_norms_and_biases() -> None:
    layer = nn.Linear(2, 2)
    parameters = {
        "w": layer.weight,
        "experts.bias_in": nn.Parameter(layer.weight.data),
        "n": layer.bias,
    }
    stage = Stage(name="s", tokens=1, mixture={"en": 1})
    optimizer = make_optimizer({"base": parameters}, stage, Training(weight_decay=0.1))
    decayed = {id(p) for g in optimizer.param_groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {id(layer.weight)}


def test_groups_have_rates_of_their_own_through_the_whole_schedule() -> None:
    router, expert, norm = (nn.Parameter(torch.ones(*s)) for s in ((2, 2), (3, 2), (2,)))
    scale = {"routers": 10}
    stage = Stage(name="s", tokens=1, mixture={"en": 1}, lr=1e-3, lr_scale=scale, warmup=0.5)
    groups = {"routers": {"r": router}, "experts": {"e": expert, "n": norm}}
    optimizer = make_optimizer(groups, stage, Training())
    for step in (0, 3, 9):
        rate = set_learning_rate(optimizer, step, 10, stage)
        assert rate == learning_rate(step, 10, stage)
        found = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
        assert found == {id(router): 10 * rate, id(expert): rate, id(norm): rate}


def test_one_pass_over_memory_steps_as_several_do() -> None:
    torch.manual_seed(0)
    first, second = (nn.Parameter(torch.ones(40, 30)) for _ in range(2))
    stage = Stage(name="s", tokens=1, mixture={"en": 1}, lr=1e-2)
    settings = Training(weight_decay=0.1)
    fused = make_optimizer({"base": {"w": first}}, stage, settings)
    group = {"lr": 1e-2, "betas": settings.betas, "weight_decay": 0.1}
    plain = torch.optim.AdamW([second], foreach=False, **group)
    for _ in range(20):
        first.grad = torch.randn(40, 30)
        second.grad = first.grad.clone()
        fused.step()
        plain.step()
    torch.testing.assert_close(first, second, rtol=1e-6, atol=1e-6)


def test_a_stage_with_moments_in_8_bits_resumes_bit_for_bit_and_learns_as_much(
    tmp_path: Path,
) -> None:
    pytest.importorskip("bitsandbytes")
    write_shards(tmp_path / "shards")
    loader = make_loader(tmp_path / "shards")
    wide: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 96, "head_dim": 32}
    coded = training(optimizer="adamw_8bit", weight_decay=0.1)
    train(grafted(**wide), loader, tmp_path / "whole", training=coded)
    broken: Any = StopAfter(loader, 5)
    with pytest.raises(KeyboardInterrupt):
        train(grafted(**wide), broken, tmp_path / "resumed", training=coded)
    train(grafted(**wide), loader, tmp_path / "resumed", training=coded)
    assert same_weights(tmp_path / "whole", tmp_path / "resumed")
    train(grafted(**wide), loader, tmp_path / "plain", training=training(weight_decay=0.1))
    losses = [[r["loss"] for r in read_log(tmp_path / n)] for n in ("whole", "plain")]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
