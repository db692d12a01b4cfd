"""The gate between the original FFN and a branch of experts (MoE-CT)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.moe.expanded_ffn import ExpandedFFN
from langraft.graft.moe.gate import SigmoidGate
from langraft.graft.moe.losses import language_prior_loss
from langraft.graft.surgery import graft_model
from tiny import tiny_model

X = torch.randn(1, 23, 16, generator=torch.Generator().manual_seed(0))


def layer(gate: str, **settings: Any) -> ExpandedFFN:
    """A branch whose experts have moved, so that g matters."""
    method = MoECT.model_validate({"new_experts": 3, "gate": gate, **settings})
    ffn = graft_model(tiny_model(), method).model.layers[0].mlp
    with torch.no_grad():
        for number, parameter in enumerate(ffn.experts.parameters()):
            noise = torch.Generator().manual_seed(number)
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    return ffn


def plain(ffn: ExpandedFFN, x: torch.Tensor, opening_T: torch.Tensor) -> torch.Tensor:
    """Return b + g (m - b), one token and one expert at a time."""
    rows = []
    for x_D, g in zip(x[0], opening_T, strict=True):
        probability = (ffn.router.weight @ x_D).softmax(0)
        top, chosen = probability.topk(2)
        branch = torch.zeros(16)
        for weight, n in zip(top / top.sum(), chosen, strict=True):
            gate, up = (ffn.experts.weight_in[n] @ x_D).chunk(2)
            branch = branch + weight * (
                ffn.experts.weight_out[n] @ (torch.sigmoid(gate) * gate * up)
            )
        b = ffn.base(x_D)
        rows.append(b + g * (branch - b))
    return torch.stack(rows)[None]


def set_gate(ffn: ExpandedFFN) -> torch.Tensor:
    """Give the gate weights; returns its scores."""
    assert ffn.gate is not None
    with torch.no_grad():
        ffn.gate.weight.copy_(torch.randn(1, 16, generator=torch.Generator().manual_seed(7)))
        ffn.gate.bias.fill_(0.2)
    return (X[0] @ ffn.gate.weight.T).squeeze(-1) + 0.2


def test_each_gate_fuses_as_a_plain_loop_does() -> None:
    cases = [
        (layer("fixed", gate_opening=0.1), lambda scores: torch.full((23,), 0.1)),
        (layer("sigmoid"), torch.sigmoid),
        (layer("hard"), lambda scores: (scores >= 0).float()),
    ]
    for ffn, opening in cases:
        scores = set_gate(ffn) if isinstance(ffn.gate, SigmoidGate) else torch.empty(0)
        expected = plain(ffn, X, opening(scores))
        torch.testing.assert_close(ffn(X), expected, atol=1e-5, rtol=1e-4)


def test_gates_start_half_open_so_that_experts_learn() -> None:
    ffn = layer("sigmoid")
    assert ffn.gate is not None
    assert torch.equal(ffn.gate(X[0]).open_T, torch.full((23,), 0.5))


def test_where_a_hard_gate_is_closed_the_token_is_exact_and_costs_no_expert() -> None:
    ffn = layer("hard")
    closed = set_gate(ffn) < 0
    assert 0 < closed.sum() < 23
    rows_run: list[int] = []
    run_one = ffn.experts.run_one
    ffn.experts.register_forward_pre_hook(lambda module, args: rows_run.append(len(args[0])))
    ffn.experts.run_one = lambda x, number: (rows_run.append(len(x)), run_one(x, number))[1]
    for context, rows in (
        (torch.no_grad(), 2 * int((~closed).sum())),
        (torch.enable_grad(), 2 * 23),  # training looks at closed tokens too
    ):
        rows_run.clear()
        with context:
            out = ffn(X)[0]
        assert sum(rows_run) == rows
        assert torch.equal(out[closed], ffn.base(X)[0][closed])
        assert not torch.equal(out, ffn.base(X)[0])


def test_a_hard_gate_learns_through_the_sigmoid() -> None:
    ffn = layer("hard")
    set_gate(ffn)
    (ffn(X) * X).sum().backward()
    assert ffn.gate is not None
    assert ffn.gate.weight.grad.abs().sum() > 0


def test_a_closed_gate_everywhere_is_the_base_itself() -> None:
    ffn = layer("hard")
    assert ffn.gate is not None
    with torch.no_grad():
        ffn.gate.bias.fill_(-1.0)
        assert torch.equal(ffn(X), ffn.base(X))


@pytest.mark.parametrize("gate", ["sigmoid", "hard"])
def test_the_prior_is_minus_log_of_one_minus_g_over_original_tokens(gate: str) -> None:
    method = MoECT.model_validate({"gate": gate})
    model = graft_model(tiny_model(), method)
    ffn = model.model.layers[0].mlp
    scores = set_gate(ffn)
    is_original = torch.arange(23) % 2 == 0
    with model.langraft.recorder.recording() as recorded:
        ffn(X)
        routing = recorded[0]
    found = language_prior_loss(routing.log_original_T(), is_original)
    by_hand = [-math.log(1 - torch.sigmoid(s).item()) for s in scores[is_original]]
    assert found.item() == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-5)
    torch.testing.assert_close(routing.log_new_T(), torch.sigmoid(scores).log())


def test_shares_name_the_original_first_and_sum_to_one() -> None:
    model = graft_model(tiny_model(), MoECT(gate="fixed", gate_opening=0.2))
    with model.langraft.recorder.recording() as recorded:
        model.model.layers[0].mlp(X)
        shares_TE = recorded[0].shares_TE()
    assert shares_TE.shape == (23, 5)
    torch.testing.assert_close(shares_TE[:, 0], torch.full((23,), 0.8))
    torch.testing.assert_close(shares_TE.sum(1), torch.ones(23))
