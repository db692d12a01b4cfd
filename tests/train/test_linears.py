from __future__ import annotations

import pytest
import torch
from torch import nn

from langraft.graft import products
from langraft.train.linears import _ProductMode, fast_linears


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("trains", [True, False])
def test_a_linear_layer_is_the_same_forward_and_backward(has_bias: bool, trains: bool) -> None:
    layer = nn.Linear(24, 40, bias=has_bias)
    layer.requires_grad_(trains)
    found = []
    for is_fast in (False, True):
        x = torch.randn(3, 5, 24, generator=torch.Generator().manual_seed(0), requires_grad=True)
        layer.zero_grad()
        if is_fast:
            with _ProductMode():
                y = layer(x)
        else:
            y = layer(x)
        y.square().sum().backward()
        gradients = [p.grad.clone() for p in layer.parameters() if p.grad is not None]
        assert len(gradients) == trains * (1 + has_bias)
        found.append([y.detach(), x.grad, *gradients])
    for plain, fast in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-4, rtol=1e-5)


def test_other_precisions_and_empty_batches_are_left_to_torch() -> None:
    layer = nn.Linear(24, 40)
    x = torch.randn(5, 24)
    with fast_linears():
        assert layer(x[:0]).shape == (0, 40)
        with torch.autocast("cpu", torch.bfloat16):
            inside = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(inside, layer(x))
    layer.to(torch.bfloat16)
    with fast_linears():
        assert torch.equal(
            layer(x.bfloat16()), nn.functional.linear(x.bfloat16(), *layer.parameters())
        )


@pytest.mark.skipif(not products.prefers_onednn(), reason="MKL is the faster one here, or the only")
def test_where_onednn_is_chosen_its_product_is_the_true_one() -> None:
    a, b = torch.randn(37, 53), torch.randn(29, 53)
    expected = (a.double() @ b.double().T).float()
    torch.testing.assert_close(products.product(a, b), expected, atol=1e-5, rtol=1e-5)
    assert products.product(a[:, ::2], b[:, ::2]).shape == (37, 29)
