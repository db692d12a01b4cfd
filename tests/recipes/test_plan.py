from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from langraft.core.recipe import Languages
from langraft.core.stage import Stage
from langraft.core.training import Training
from langraft.curriculum.loader import Batch
from langraft.graft.freeze import set_trainable
from langraft.graft.method import AbstractMethod
from langraft.graft.methods.full import Full
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_full import MoEFull
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model
from langraft.recipes.plan import plan_method
from langraft.train.loss import summed_loss
from tiny import tiny_model

WIDE = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_attention_heads": 4,
    "head_dim": 16,
    "num_hidden_layers": 12,
}
RARE = tuple(range(0, 320, 2))


def grouped_mm_flops(a_shape: Any, b_shape: Any, *rest: Any, **others: Any) -> int:
    """Count what torch leaves out: rows times both widths, forward and for either gradient."""
    del rest, others
    return 2 * a_shape[0] * a_shape[1] * b_shape[-1]


def causal_attention_flops(q_shape: Any, *rest: Any, **others: Any) -> int:
    """Count what torch leaves out on a CPU: two products over half of all pairs of tokens."""
    del rest, others
    batch, heads, length, width = q_shape
    return 2 * batch * heads * length * length * width


def causal_attention_backward_flops(_: Any, q_shape: Any, *rest: Any, **others: Any) -> int:
    return 2 * causal_attention_flops(q_shape, *rest, **others)


def planned(method: AbstractMethod, trains: Any) -> tuple[Any, Any]:
    model = graft_model(
        tiny_model(**WIDE), method, rare_tokens=RARE if method.token_rows == "rare" else ()
    )
    stage = Stage(name="s", tokens=1024, mixture={"en": 1}, trains=trains, losses={})
    training = Training(sequence_length=64, batch_rows=8, micro_rows=8)
    return model, plan_method(model, (stage,), training, method.name)


class Nowhere(contextlib.nullcontext[None]):
    """Says of no product which module it is in: the tracker's hooks refuse ``autograd.grad``."""

    parents: ClassVar[set[str]] = {"Global"}


@pytest.mark.parametrize(
    ("method", "trains"),
    [
        (Full(), "everything"),
        (MoELPR(new_experts=3), ("experts", "routers")),
        (MoELPR(new_experts=3), ("routers",)),
        (MoELPR(new_experts=3, token_rows="rare"), ("experts", "routers", "token_rows")),
        (MoEFull(new_experts=3), "everything"),
        (MoECT(new_experts=3), ("experts", "routers", "gates")),
    ],
    ids=["full", "extend", "review", "rare rows", "moe_full", "moe_ct"],
)
def test_planned_flops_are_those_that_torch_counts(method: AbstractMethod, trains: Any) -> None:
    model, plan = planned(method, trains)
    set_trainable(model, trains, token_rows=method.token_rows)
    ids = torch.randint(320, (8, 64), generator=torch.Generator().manual_seed(0))
    positions = torch.arange(64)[None].expand(8, 64)
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    uncounted = {
        torch.ops.aten._grouped_mm: grouped_mm_flops,
        attention: causal_attention_flops,
        backward: causal_attention_backward_flops,
    }
    counter = FlopCounterMode(display=False, custom_mapping=uncounted)
    counter.mod_tracker = Nowhere()
    with counter:
        batch = Batch(ids, ids, positions, torch.zeros_like(ids), ids >= 0)
        summed_loss(model, batch)[0].backward()
    counted = counter.get_total_flops() / ids.numel()
    assert plan.stages[0].flops_per_token == pytest.approx(counted, rel=0.1)


def test_a_token_meets_k_experts_and_the_rest_is_idle() -> None:
    _, plan = planned(MoELPR(new_experts=3, experts_per_token=2), ("experts", "routers"))
    base = sum(parameter.numel() for parameter in tiny_model(**WIDE).parameters())
    ffn = 3 * 64 * 160 * 12
    routers = 4 * 64 * 12
    assert plan.parameters.total == base + 3 * ffn + routers
    assert plan.parameters.active == base + ffn + routers
    assert plan.parameters.trainable == 3 * ffn + routers


def test_tokens_are_rounded_up_to_whole_steps() -> None:
    _, plan = planned(Full(), "everything")
    assert plan.stages[0].num_steps == 2
    assert plan.stages[0].tokens == 1024
    assert plan.stages[0].training_flops == plan.stages[0].flops_per_token * 1024


def test_paper_stages_keep_its_proportions() -> None:
    languages = Languages(original=("en",), new=("el", "hu"))
    extend, review = MoELPR().default_stages(languages, 1_000_000)
    assert extend.tokens + review.tokens == 1_000_000
    assert review.tokens == 17_000
    assert review.mixture == {"en": 1.0, "el": 2.0, "hu": 2.0}
