from __future__ import annotations

import pytest
import torch
from torch import nn

from langraft.families.sites import find_ffn_sites
from langraft.graft.expansion_context import GraftContext
from langraft.graft.moe.dispatch import dispatch
from langraft.graft.moe.expanded_ffn import ExpandedFFN
from langraft.graft.moe.router import Routing
from tiny import tiny_model

FAMILIES = {"gated": "llama", "fused": "phi3", "plain": "gpt2"}


def layer(kind: str, *, num_new: int = 3, top_k: int = 2) -> ExpandedFFN:
    changes = {"n_embd": 16, "n_layer": 2, "n_head": 2} if kind == "plain" else {}
    model = tiny_model(FAMILIES[kind], **changes)
    site = find_ffn_sites(model)[1]
    assert site.kind == kind
    ffn = ExpandedFFN(
        site,
        num_new_experts=num_new,
        does_original_compete=True,
        top_k=top_k,
        context=GraftContext(),
    )
    with torch.no_grad():  # experts apart from each other and from the base, biases included
        for number, parameter in enumerate(ffn.experts.parameters()):
            noise = torch.Generator().manual_seed(number)
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    return ffn.eval()


def plain_loop(ffn: ExpandedFFN, x_TD: torch.Tensor, routing: Routing) -> torch.Tensor:
    """One token and one expert at a time."""
    rows = []
    for t in range(len(x_TD)):
        total = torch.zeros_like(x_TD[t])
        for k in range(routing.experts_TK.shape[1]):
            expert = int(routing.experts_TK[t, k])
            total = total + routing.weights_TK[t, k] * run_expert(ffn, expert, x_TD[t])
        rows.append(total)
    return torch.stack(rows)


def run_expert(ffn: ExpandedFFN, expert: int, x_D: torch.Tensor) -> torch.Tensor:
    if expert == 0:
        return ffn.base(x_D[None])[0]
    bank, n = ffn.experts, expert - 1
    inner = bank.weight_in[n] @ x_D
    if bank.bias_in is not None:
        inner = inner + bank.bias_in[n]
    if bank.is_gated:
        gate, up = inner.chunk(2)
        inner = bank.activation(gate) * up
    else:
        inner = bank.activation(inner)
    out = bank.weight_out[n] @ inner
    return out if bank.bias_out is None else out + bank.bias_out[n]


@pytest.mark.parametrize("top_k", [1, 2, 4])
@pytest.mark.parametrize("kind", list(FAMILIES))
def test_dispatch_equals_a_plain_loop_forward_and_backward(kind: str, top_k: int) -> None:
    ffn = layer(kind, top_k=top_k)
    x = torch.randn(37, 16, generator=torch.Generator().manual_seed(0))
    target = torch.randn(37, 16, generator=torch.Generator().manual_seed(1))
    gradients = []
    outputs = []
    for compute in (
        lambda x, r: dispatch(x, r, ffn.banks, ffn.original_expert),
        lambda x, r: plain_loop(ffn, x, r),
    ):
        ffn.zero_grad()
        leaf = x.clone().requires_grad_()
        out = compute(leaf, ffn.route(leaf))
        (out * target).sum().backward()
        outputs.append(out.detach())
        found = {n: p.grad.clone() for n, p in ffn.named_parameters() if p.grad is not None}
        gradients.append(found | {"x": leaf.grad.clone()})
    torch.testing.assert_close(outputs[0], outputs[1], atol=1e-5, rtol=1e-4)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize(
    "chosen", [(0, 1), (2, 3)], ids=["no token at 2 and 3", "none at the base"]
)
def test_experts_without_tokens_cost_nothing_and_get_zero_gradients(
    chosen: tuple[int, int],
) -> None:
    ffn = layer("gated")
    x = torch.randn(9, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    experts_TK = torch.tensor([chosen] * 9)
    routing = Routing(torch.zeros(9, 4), experts_TK, torch.full((9, 2), 0.5))
    dispatch(x, routing, ffn.banks, ffn.original_expert).square().sum().backward()
    gradient = ffn.experts.weight_in.grad
    assert gradient is not None
    for number in range(3):
        assert bool(gradient[number].any()) == (number + 1 in chosen)


def test_dispatch_gives_equal_bits_for_equal_inputs() -> None:
    ffn = layer("gated")
    x = torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ffn(x), ffn(x))


def test_a_single_token_and_an_empty_batch_pass_through() -> None:
    ffn = layer("gated")
    assert ffn(torch.ones(1, 1, 16)).shape == (1, 1, 16)
    assert ffn(torch.ones(1, 0, 16)).shape == (1, 0, 16)


def test_routing_is_recorded_by_layer_only_while_somebody_listens() -> None:
    ffn = layer("gated")
    x = torch.ones(1, 5, 16)
    recorder = ffn.context.recorder
    ffn(x)
    with recorder.recording() as recorded:
        assert recorded == {}
        ffn(x)
        ffn(x)  # a recomputed layer overwrites its own entry
        assert list(recorded) == [1]
        assert recorded[1].logits_TE.shape == (5, 4)
        assert recorded[1].logits_TE.dtype == torch.float32


def test_router_weights_are_the_renormalised_top_of_the_softmax_over_all_experts() -> None:
    ffn = layer("gated")
    x = torch.randn(11, 16, generator=torch.Generator().manual_seed(0))
    routing = ffn.route(x)
    probability = (x @ ffn.router.weight.T).softmax(-1)
    top, experts = probability.topk(2)
    assert torch.equal(experts, routing.experts_TK)
    torch.testing.assert_close(routing.weights_TK, top / top.sum(-1, keepdim=True))


def test_the_router_computes_in_float32_under_autocast() -> None:
    ffn = layer("gated")
    x = torch.randn(11, 16, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        routing = ffn.route(x)
        out = ffn(x)
    torch.testing.assert_close(routing.logits_TE, nn.functional.linear(x, ffn.router.weight))
    assert out.dtype == torch.bfloat16
