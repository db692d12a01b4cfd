from __future__ import annotations

from typing import Any

import pytest
import torch

import langraft.train.compute.chunked_loss
from langraft.curriculum.loader import Batch
from langraft.graft.expansion_context import GraftContext
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model
from langraft.graft.wrappers.adapters import AdaptedProjection
from langraft.train.compute.chunked_loss import summed_loss
from tiny import VOCAB_SIZE, tiny_model

ROWS, LENGTH = 3, 10


def adapted() -> Any:
    """A graft whose adapters are far from zero."""
    method = MoELPR(new_experts=2, attention_rank=2, output_rank=4, token_rows="rare")
    model = graft_model(tiny_model(), method, rare_tokens=range(0, VOCAB_SIZE, 3))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".adapter_up." in name or ".deltas." in name:
                parameter.normal_(generator=torch.Generator().manual_seed(0))
    return model.eval()


def ids() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(1, VOCAB_SIZE, (ROWS, LENGTH), generator=generator)


@pytest.mark.parametrize("kept", [1, 3, torch.tensor([0, 4])])
@torch.no_grad()
def test_logits_of_some_tokens_are_those_of_all_at_their_places(kept: Any) -> None:
    model = adapted()
    everything = model(input_ids=ids(), use_cache=False).logits
    some = model(input_ids=ids(), use_cache=False, logits_to_keep=kept).logits
    place = slice(-kept, None) if isinstance(kept, int) else kept
    torch.testing.assert_close(some, everything[:, place], atol=1e-5, rtol=1e-5)


def test_the_loss_by_chunks_has_the_whole_loss_and_its_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    positions = torch.arange(LENGTH).expand(ROWS, -1)
    labels = ids().roll(-1, dims=1)
    batch = Batch(
        ids(), labels, positions, torch.zeros_like(labels), torch.ones_like(labels).bool()
    )
    found: list[Any] = []
    for at_once in (512, 7):
        monkeypatch.setattr(langraft.train.compute.chunked_loss, "CHUNK_TOKENS_CPU", at_once)
        model = adapted()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(".adapter_" in name)
        total, losses_T, _ = summed_loss(model, batch)
        total.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert len(gradients) == 2 * 5  # four projections of the second layer, and the output
        found.append([losses_T, *gradients])
    for whole, by_chunks in zip(*found, strict=True):  # gradients of sums reach 500
        rounding = 1e-6 * float(whole.abs().max())
        torch.testing.assert_close(by_chunks, whole, atol=rounding, rtol=0)


@pytest.mark.parametrize("rank", [2, "full"])
@torch.no_grad()
def test_a_token_meets_the_adapter_by_its_share_of_new_experts(rank: Any) -> None:
    context = GraftContext()
    base = torch.nn.Linear(4, 6)
    projection = AdaptedProjection(base, rank, layer_below=0, context=context, seed=0)
    x = torch.ones(1, 3, 4)
    context.recorder.write_new_share(0, torch.tensor([0.0, 0.5, 1.0]))
    assert torch.equal(projection(x), base(x))  # U starts at zero
    torch.nn.init.ones_(projection.adapter_up.weight)
    none, half, whole = (projection(x) - base(x))[0]
    assert torch.equal(none, torch.zeros(6))
    torch.testing.assert_close(half, whole / 2)
    assert whole.abs().min() > 0
