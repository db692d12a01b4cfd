from __future__ import annotations

import math

import pytest
import torch

from langraft.core.errors import ShapeError
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.moe.losses import (
    TokenRoles,
    balance_loss,
    language_prior_loss,
    mean_over_layers,
)
from langraft.graft.moe.router import Routing
from langraft.graft.surgery import graft_info, graft_model
from tiny import VOCAB_SIZE, tiny_model

ALL = torch.ones(3, dtype=torch.bool)
_PARTS = ("logits_TE", "experts_TK", "weights_TK")


def routing(logits_TE: torch.Tensor) -> Routing:
    top, experts = logits_TE.topk(2)
    return Routing(logits_TE, experts, top.softmax(-1))


def test_balance_loss_equals_a_case_computed_by_hand() -> None:
    # Three tokens, three experts, K = 2. Probabilities are given; logits are their logarithms.
    probability = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    # Chosen: {0,1}, {0,1}, {2,1}: counts 2, 3, 1. f = E/(K T) * counts = 0.5 * counts.
    # P = column means = 0.4, 0.8/3, 1/3. Loss = 1.0*0.4 + 1.5*0.26667 + 0.5*0.33333.
    expected = 1.0 * 0.4 + 1.5 * (0.8 / 3) + 0.5 * (1.0 / 3)
    assert balance_loss(probability.log(), ALL, 2).item() == pytest.approx(expected, rel=1e-6)


def test_balance_loss_is_one_at_perfect_balance_and_e_over_k_at_worst() -> None:
    even = torch.full((6, 4), -20.0)
    for token in range(6):
        even[token, [token % 4, (token + 1) % 4]] = 0.0
    even = torch.cat([even, even[[2, 3]]])  # each expert chosen four times in eight tokens
    assert balance_loss(even, torch.ones(8, dtype=torch.bool), 2).item() == pytest.approx(1.0)
    worst = torch.tensor([[20.0, 20.0, -20.0, -20.0]]).repeat(5, 1)
    assert balance_loss(worst, torch.ones(5, dtype=torch.bool), 2).item() == pytest.approx(2.0)


def test_padding_does_not_count_for_balance() -> None:
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([True, True, False, True, False])
    assert balance_loss(logits, mask, 2) == balance_loss(logits[mask], ALL, 2)
    assert balance_loss(logits, torch.zeros(5, dtype=torch.bool), 2).item() == 0.0


def test_prior_loss_equals_a_case_computed_by_hand() -> None:
    probability = torch.tensor([[0.5, 0.25, 0.25], [0.9, 0.05, 0.05], [0.1, 0.2, 0.7]])
    is_original = torch.tensor([True, False, True])
    expected = -(math.log(0.5) + math.log(0.1)) / 2
    assert language_prior_loss(probability.log()[:, 0], is_original).item() == pytest.approx(
        expected
    )


def test_the_prior_of_new_languages_is_the_same_towards_the_new_experts() -> None:
    probability = torch.tensor([[0.5, 0.25, 0.25], [0.9, 0.05, 0.05], [0.1, 0.2, 0.7]])
    roles = TokenRoles(torch.tensor([True, True, False]), torch.tensor([True, False, False]))
    found = MoELPR(new_experts=2).side_losses()["prior_new"](routing(probability.log()), roles)
    assert found.item() == pytest.approx(-math.log(0.1))  # token 1; token 2 is padding
    later = Routing(*(getattr(routing(probability.log()), n) for n in _PARTS), num_kept=2)
    found = MoELPR(new_experts=1).side_losses()["prior_new"](later, roles)
    assert found.item() == pytest.approx(-math.log(0.05))


def test_prior_loss_is_zero_and_finite_without_original_tokens() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    log_original = routing(logits).log_original_T()
    loss = language_prior_loss(log_original, torch.zeros(4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_a_badly_misrouted_original_token_gets_the_full_gradient() -> None:
    # The released code's second softmax would leave about 1% of it.
    logits = torch.tensor([[-10.0, 10.0, 0.0]], requires_grad=True)
    language_prior_loss(routing(logits).log_original_T(), torch.tensor([True])).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].item() == pytest.approx(-1.0, abs=1e-3)


@pytest.mark.parametrize("name", ["balance", "prior", "prior_new"])
def test_side_losses_reach_every_router_through_a_whole_model(name: str) -> None:
    model = graft_model(tiny_model(), MoELPR(new_experts=3))
    info = graft_info(model)
    model.requires_grad_(False)
    for parameter_name, parameter in model.named_parameters():
        parameter.requires_grad_("router" in parameter_name)
    input_ids = torch.randint(VOCAB_SIZE, (2, 12), generator=torch.Generator().manual_seed(0))
    roles = TokenRoles(torch.ones(24, dtype=torch.bool), torch.arange(24) % 2 == 0)
    with info.recorder.recording() as recorded:
        model(input_ids=input_ids, use_cache=False)
        mean_over_layers(info.method.side_losses()[name], recorded, roles).backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if "router" in n}
    assert len(gradients) == 2
    assert all(g is not None and g.abs().sum() > 0 for g in gradients.values())


def test_the_next_token_loss_alone_reaches_routers_and_experts() -> None:
    model = graft_model(tiny_model(), MoELPR(new_experts=3))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("router" in name or "experts" in name)
        if "experts" in name:  # at step 0 all experts agree, and no router can matter
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    ids = torch.randint(VOCAB_SIZE, (2, 12), generator=torch.Generator().manual_seed(0))
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_losses_refuse_a_mask_of_another_length() -> None:
    with pytest.raises(ShapeError, match="saw 3 tokens"):
        language_prior_loss(torch.zeros(3), torch.ones(4, dtype=torch.bool))
    with pytest.raises(ShapeError, match="No routing was recorded"):
        mean_over_layers(lambda routing, roles: routing.logits_TE.sum(), {}, TokenRoles(ALL, ALL))
