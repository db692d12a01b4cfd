"""Every way to compute experts equals the reference, forward and backward."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from langraft.core.errors import ModelError
from langraft.families.sites import find_ffn_sites
from langraft.graft.expansion_context import GraftContext
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.moe.dispatch import dispatch
from langraft.graft.moe.expanded_ffn import ExpandedFFN, use_experts
from langraft.graft.moe.reference import mix_experts
from langraft.graft.moe.router import Routing
from langraft.graft.moe.transformers_experts import dispatch_to
from langraft.graft.surgery import graft_info, graft_model
from thorough import examples
from tiny import tiny_model

FAMILIES = {"gated": "llama", "fused": "phi3", "plain": "gpt2"}
LAYERS: dict[tuple[str, int], ExpandedFFN] = {}
Path = Callable[[ExpandedFFN, Tensor, Routing, bool], Tensor]
PATHS: dict[str, Path] = {
    **{
        path: lambda ffn, x, routing, has_base, path=path: dispatch(
            x, routing, ffn.banks, ffn.original_expert if has_base else None, path
        )
        for path in ("sorted", "no_host_sync")
    },
    **{
        name: lambda ffn, x, routing, has_base, name=name: dispatch_to(
            name, x, routing, ffn.experts, ffn.original_expert if has_base else None
        )
        for name in ("grouped_mm", "batched_mm")
    },
}


def layer(kind: str, num_new: int) -> ExpandedFFN:
    """Experts apart from each other and from the base, biases included."""
    if (kind, num_new) not in LAYERS:
        site = find_ffn_sites(tiny_model(FAMILIES[kind]))[1]
        ffn = ExpandedFFN(
            site,
            num_new_experts=num_new,
            does_original_compete=True,
            top_k=2,
            context=GraftContext(),
        )
        with torch.no_grad():
            for number, parameter in enumerate(ffn.experts.parameters()):
                noise = torch.Generator().manual_seed(number)
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
        LAYERS[kind, num_new] = ffn
    return LAYERS[kind, num_new]


def reference(ffn: ExpandedFFN, x_TD: Tensor, routing: Routing, has_base: bool) -> Tensor:
    new = [partial(run, ffn, number) for number in range(len(ffn.experts.weight_in))]
    experts = [ffn.base, *new] if has_base else new
    return mix_experts(x_TD, experts, routing.experts_TK, routing.weights_TK)


def run(ffn: ExpandedFFN, n: int, x_TD: Tensor) -> Tensor:
    bank = ffn.experts
    weight_in, bias_in, weight_out, bias_out = (
        None if each is None else each[n].to(x_TD.dtype)
        for each in (bank.weight_in, bank.bias_in, bank.weight_out, bank.bias_out)
    )
    hidden = nn.functional.linear(x_TD, weight_in, bias_in)
    if bank.is_gated:
        gate, up = hidden.chunk(2, dim=-1)
        hidden = bank.activation(gate) * up
    else:
        hidden = bank.activation(hidden)
    return nn.functional.linear(hidden, weight_out, bias_out)


@st.composite
def routings(draw: Any) -> tuple[int, bool, Tensor, Tensor]:
    """Experts of each token: any, all the same, or none of some; K from 1 to E."""
    num_new, has_base = draw(st.integers(1, 4)), draw(st.booleans())
    num_experts = num_new + has_base
    top_k, num_tokens = draw(st.integers(1, num_experts)), draw(st.integers(0, 30))
    if draw(st.booleans()):
        orders = [draw(st.permutations(range(num_experts)))] * num_tokens
    else:
        orders = [draw(st.permutations(range(num_experts))) for _ in range(num_tokens)]
    experts_TK = torch.tensor([o[:top_k] for o in orders], dtype=torch.long)
    seed = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    weights_TK = torch.rand(num_tokens, top_k, generator=seed).softmax(dim=-1)
    return num_new, has_base, experts_TK.view(num_tokens, top_k), weights_TK


@pytest.mark.parametrize("path", list(PATHS))
@settings(max_examples=examples(40))
@given(
    drawn=routings(),
    kind=st.sampled_from(list(FAMILIES)),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    trains=st.booleans(),
)
def test_every_path_equals_the_reference_forward_and_backward(
    path: str,
    drawn: tuple[int, bool, Tensor, Tensor],
    kind: str,
    dtype: torch.dtype,
    trains: bool,
) -> None:
    num_new, has_base, experts_TK, weights_TK = drawn
    if len(experts_TK) == 0 and path in ("grouped_mm", "batched_mm"):
        return  # transformers' own functions take no empty batch
    ffn = layer(kind, num_new)
    ffn.experts.requires_grad_(trains)
    ffn.base.requires_grad_(False).to(dtype)
    noise = torch.Generator().manual_seed(1)
    x = torch.randn(len(experts_TK), 16, generator=noise)
    target = torch.randn(x.shape, generator=noise).to(dtype)
    found = []
    for compute in (reference, PATHS[path]):
        ffn.zero_grad()
        leaf = x.to(dtype).requires_grad_()
        weights = weights_TK.clone().requires_grad_()
        logits = torch.zeros(len(x), num_new + has_base)
        out = compute(ffn, leaf, Routing(logits, experts_TK, weights), has_base)
        (out * target).sum().backward()
        gradients = [p.grad for p in ffn.experts.parameters() if p.grad is not None]
        found.append([out.detach(), leaf.grad, weights.grad, *gradients])
    ffn.base.float()
    assert len(found[0]) == len(found[1])
    for expected, value in zip(*found, strict=True):
        if dtype == torch.float32:
            torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-4)
        else:  # sums of many products round differently
            scale = float(expected.abs().max()) if expected.numel() else 0.0
            torch.testing.assert_close(value, expected, atol=0.03 * scale + 1e-2, rtol=0.05)


@pytest.mark.parametrize("kind", list(FAMILIES))
@pytest.mark.parametrize("path", ["sorted", "no_host_sync"])
def test_an_activation_that_answers_in_float32_is_rounded_as_the_base_rounds_it(
    path: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As autocast of CUDA makes some do: pow, softplus."""
    ffn = layer(kind, 3)
    ffn.experts.requires_grad_(True)
    usual = ffn.experts._activation
    x = torch.randn(20, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    experts_TK = torch.arange(40).view(20, 2) % 3
    routing = Routing(torch.zeros(20, 3), experts_TK, torch.full((20, 2), 0.5))
    found = []
    for activation in (usual[0], lambda rows: usual[0](rows.float())):
        monkeypatch.setattr(ffn.experts, "_activation", (activation,))
        ffn.zero_grad()
        leaf = x.clone().requires_grad_()
        out = PATHS[path](ffn, leaf, routing, False)
        assert out.dtype == torch.bfloat16
        out.float().square().sum().backward()
        found.append((out.detach(), leaf.grad, ffn.experts.weight_in.grad))
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).abs().max() < 0.02 * theirs.abs().max()


@pytest.mark.parametrize("has_base", [True, False])
def test_many_tokens_are_laid_out_in_few_shapes_and_equal_the_reference(has_base: bool) -> None:
    ffn = layer("plain", 3)
    ffn.experts.requires_grad_(True)
    noise = torch.Generator().manual_seed(0)
    experts_TK = torch.rand(700, 3 + has_base, generator=noise).argsort(dim=-1)[:, :2]
    sizes: list[int] = []
    hook = ffn.experts.register_forward_pre_hook(lambda _, given: sizes.append(given[1].tolist()))
    weights_TK = torch.rand(700, 2, generator=noise).softmax(dim=-1)
    x, target = torch.randn(2, 700, 16, generator=noise)
    found = []
    for compute in (reference, PATHS["sorted"]):
        ffn.zero_grad()
        leaf, weights = x.clone().requires_grad_(), weights_TK.clone().requires_grad_()
        routing = Routing(torch.zeros(700, 3 + has_base), experts_TK, weights)
        out = compute(ffn, leaf, routing, has_base)
        (out * target).sum().backward()
        gradients = [p.grad for p in ffn.experts.parameters()]
        found.append([out.detach(), leaf.grad, weights.grad, *gradients])
    hook.remove()
    for expected, value in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, atol=1e-3, rtol=1e-4)
    ends = [0, *sizes[0]]
    assert all((b - a) % 16 == 0 for a, b in itertools.pairwise(ends))


@settings(max_examples=examples(60))
@given(drawn=routings(), kind=st.sampled_from(list(FAMILIES)))
def test_few_tokens_are_computed_by_the_chosen_experts_alone(
    drawn: tuple[int, bool, Tensor, Tensor], kind: str
) -> None:
    num_new, has_base, experts_TK, weights_TK = drawn
    assume(len(experts_TK) > 0)
    ffn = layer(kind, num_new)
    x = torch.randn(len(experts_TK), 16, generator=torch.Generator().manual_seed(1))
    routing = Routing(torch.zeros(len(x), num_new + has_base), experts_TK, weights_TK)
    bank = ffn.experts
    unchosen = sorted(set(range(num_new)) - set((experts_TK - int(has_base)).flatten().tolist()))
    with torch.no_grad():
        expected = reference(ffn, x, routing, has_base)
        kept = bank.weight_in[unchosen].clone()
        bank.weight_in[unchosen] = torch.nan
        original = ffn.original_expert if has_base else None
        out = dispatch(x, routing, ffn.banks, original, "few_tokens")
        bank.weight_in[unchosen] = kept
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler has its own
@pytest.mark.parametrize(
    "backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.thorough)]
)
@pytest.mark.parametrize("method", [MoELPR(new_experts=3), MoECT(new_experts=3)], ids=["lpr", "ct"])
def test_a_compiled_layer_is_one_graph_and_equals_the_eager_one(method: Any, backend: str) -> None:
    model = tiny_model()
    graft_model(model, method)
    ffn = next(m for m in model.modules() if isinstance(m, ExpandedFFN))
    for number, parameter in enumerate(ffn.parameters()):
        noise = torch.Generator().manual_seed(number)
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=noise)
    x = torch.randn(2, 19, 16, generator=torch.Generator().manual_seed(0))
    found = []
    for compute in (ffn, torch.compile(ffn, fullgraph=True, backend=backend)):
        ffn.zero_grad()
        leaf = x.clone().requires_grad_()
        with graft_info(model).recorder.recording() as recorded:
            out = compute(leaf)
        out.square().sum().backward()
        gradients = [p.grad for p in ffn.parameters() if p.grad is not None]
        found.append([out.detach(), recorded[0].logits_TE.detach(), leaf.grad, *gradients])
    for eager, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, eager, atol=1e-4, rtol=1e-4)


def test_a_registered_function_serves_the_experts_of_a_model() -> None:
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    model = tiny_model()
    graft_model(model, MoELPR(new_experts=3))
    ids = torch.arange(40).view(2, 20)
    expected = model(input_ids=ids).logits
    calls = []

    def counted(experts: Any, *inputs: Tensor) -> Tensor:
        calls.append(experts.num_experts)
        return ALL_EXPERTS_FUNCTIONS["batched_mm"](experts, *inputs)

    ALL_EXPERTS_FUNCTIONS.register("counted", counted)
    use_experts(model, "counted")
    torch.testing.assert_close(model(input_ids=ids).logits, expected, atol=1e-4, rtol=1e-4)
    assert calls == [3, 3]
    use_experts(model, "auto")
    assert torch.equal(model(input_ids=ids).logits, expected)


def test_an_unknown_kernel_is_refused_with_those_there_are() -> None:
    model = tiny_model()
    graft_model(model, MoELPR(new_experts=3))
    with pytest.raises(ModelError, match=r"given 'groupedmm'.*batched_mm.*mean .*grouped_mm"):
        use_experts(model, "groupedmm")
