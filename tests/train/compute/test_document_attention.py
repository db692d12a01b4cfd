from __future__ import annotations

import contextlib
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stage_setup import RARE, make_loader, training, write_shards
from test_train_stage import same_weights, train
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from langraft.curriculum.loader import IGNORED, Batch, document_starts
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model
from langraft.train.compute import document_attention as attention
from langraft.train.compute import document_kernels as kernels
from langraft.train.compute.chunked_loss import TokenLosses
from langraft.train.compute.document_attention import attend_by_document
from langraft.train.compute.precision import keep_float32
from langraft.train.log import read_log
from thorough import examples
from tiny import DECODERS, VOCAB_SIZE, tiny_model

ROWS = ((5, 1, 26), (32,), (1, 1, 1, 9, 20))
KEEP_THEIR_OWN = {"bloom", "falcon", "gemma2", "gpt2"}
# Lengths of documents, rows of 32: cuts of a row at some of its places.
rows_of_documents = st.lists(
    st.sets(st.integers(1, 31)).map(lambda cuts: lengths_between(cuts, 32)), min_size=1, max_size=3
)


def lengths_between(cuts: set[int], length: int) -> tuple[int, ...]:
    edges = [0, *sorted(cuts), length]
    return tuple(b - a for a, b in itertools.pairwise(edges))


def packed(rows: Any = ROWS, seed: int = 0) -> Batch:
    positions = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in rows])
    generator = torch.Generator().manual_seed(seed)
    ids, labels = torch.randint(0, VOCAB_SIZE, (2, *positions.shape), generator=generator)
    return Batch(ids, labels, positions, torch.zeros_like(ids), ids >= 0)


def losses_and_gradients(losses: TokenLosses, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    losses.zero_grad()
    total, found, _ = losses(batch)
    total.backward()
    gradients = {n: p.grad.clone() for n, p in losses.named_parameters() if p.grad is not None}
    return found, gradients


def assert_as_under_a_mask(model: Any, batch: Batch, *, expects_served: bool = True) -> None:
    losses = TokenLosses(model)
    masked, masked_gradients = losses_and_gradients(losses, batch)
    with attend_by_document(losses) as is_served:
        found, gradients = losses_and_gradients(losses, batch)
    assert is_served == expects_served
    torch.testing.assert_close(found, masked, atol=1e-5, rtol=1e-5)
    assert gradients.keys() == masked_gradients.keys()
    for name, gradient in gradients.items():
        size = float(masked_gradients[name].abs().max())
        torch.testing.assert_close(
            gradient, masked_gradients[name], atol=1e-5 * max(1.0, size), rtol=1e-5
        )


@pytest.fixture
def kernel_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the layers that are computed document by document."""
    calls: list[int] = []
    real = kernels.attend_on_cpu

    def counted(*args: Any) -> Any:
        calls.append(1)
        return real(*args)

    monkeypatch.setattr(kernels, "attend_on_cpu", counted)
    return calls


@pytest.mark.parametrize("model_type", DECODERS)
def test_every_family_gives_what_it_gives_under_a_mask(
    model_type: str, kernel_calls: list[int]
) -> None:
    is_served = model_type not in KEEP_THEIR_OWN
    assert_as_under_a_mask(tiny_model(model_type), packed(), expects_served=is_served)
    windowed = {"cohere2": 1}  # its other layer has a window of 8
    assert len(kernel_calls) == (windowed.get(model_type, 2) if is_served else 0)


@settings(max_examples=examples(25))
@given(rows=rows_of_documents, heads=st.sampled_from([(4, 4), (4, 2), (4, 1), (8, 2)]))
def test_any_documents_and_any_groups_of_heads_give_what_a_mask_gives(
    rows: list[tuple[int, ...]], heads: tuple[int, int]
) -> None:
    model = tiny_model(num_attention_heads=heads[0], num_key_value_heads=heads[1])
    assert_as_under_a_mask(model, packed(rows))


@settings(max_examples=examples(50))
@given(rows=rows_of_documents)
def test_the_mask_written_out_is_that_of_a_plain_loop(rows: list[tuple[int, ...]]) -> None:
    starts = document_starts(packed(rows).position_ids)
    mask = attention.DocumentMask(starts, 32, len(rows), 32).dense
    assert (mask is None) == all(len(row) == 1 for row in rows)
    for number, row in enumerate(rows):
        blocks = [torch.ones(n, n, dtype=torch.bool).tril() for n in row]
        if mask is not None:
            assert torch.equal(mask[number, 0], torch.block_diag(*blocks).bool())


def test_a_document_changes_no_bit_of_another(kernel_calls: list[int]) -> None:
    losses, batch = TokenLosses(tiny_model()), packed([(7, 1, 24)])
    with torch.no_grad(), attend_by_document(losses):
        before = losses(batch)[1]
        batch.input_ids[:, 8:] = packed(seed=1).input_ids[:1, 8:]
        after = losses(batch)[1]
    assert kernel_calls
    assert torch.equal(after[:8], before[:8])
    assert not torch.isclose(after[8:], before[8:]).any()


def test_no_gradient_crosses_a_document(kernel_calls: list[int]) -> None:
    losses, batch = TokenLosses(tiny_model()), packed([(7, 1, 24)])
    with attend_by_document(losses):
        batch.labels[:, :7] = IGNORED
        losses(batch)[0].backward()
    assert kernel_calls
    first = set(batch.input_ids[0, :7].tolist()) - set(batch.input_ids[0, 7:].tolist())
    assert not losses.model.get_input_embeddings().weight.grad[sorted(first)].any()


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_dropout": 0.1},
        {"model_type": "mistral", "sliding_window": 8},
        {
            "model_type": "gemma3_text",
            "sliding_window": 8,
            "layer_types": ["sliding_attention"] * 2,
        },
        {"attn_implementation": "eager"},
    ],
)
def test_what_the_kernel_cannot_do_is_left_to_the_mask(
    changes: dict[str, Any], kernel_calls: list[int]
) -> None:
    implementation = changes.pop("attn_implementation", "sdpa")
    model = tiny_model(**changes).train()
    model.set_attn_implementation(implementation)
    losses, results = TokenLosses(model), list[Tensor]()
    for context in (contextlib.nullcontext(), attend_by_document(losses)):
        torch.manual_seed(0)
        with context:
            results.append(losses_and_gradients(losses, packed())[0])
    assert torch.equal(*results)
    assert not kernel_calls


def test_a_window_that_no_document_outgrows_is_no_window(kernel_calls: list[int]) -> None:
    model = tiny_model("mistral", sliding_window=26)
    assert_as_under_a_mask(model, packed([(5, 1, 26), (20, 12)]))
    assert len(kernel_calls) == 2


def test_a_model_whose_layers_read_the_mask_keeps_its_attention() -> None:
    model = tiny_model()

    class Reads(nn.Module):
        def forward(self, attention_mask: Tensor) -> Tensor:
            return attention_mask[:, :1]

    model.add_module("indexer", Reads())
    with attend_by_document(TokenLosses(model)) as is_served:
        assert not is_served


def test_a_model_has_its_own_attention_back_and_generates_as_ever(
    kernel_calls: list[int],
) -> None:
    model = tiny_model()
    prompt = torch.arange(1, 9)[None]
    before = model.generate(prompt, max_new_tokens=4, do_sample=False)
    losses = TokenLosses(model)
    with attend_by_document(losses):
        losses(packed())
        kernel_calls.clear()
        inside = model.generate(prompt, max_new_tokens=4, do_sample=False)
    assert model.config._attn_implementation == "sdpa"
    assert not losses._forward_pre_hooks
    assert not kernel_calls
    assert torch.equal(inside, before)


def test_a_pass_that_fails_leaves_no_documents_behind() -> None:
    model = tiny_model()
    losses, batch = TokenLosses(model), packed()
    with attend_by_document(losses):
        with pytest.raises(IndexError):
            losses(Batch(batch.input_ids + VOCAB_SIZE, *(batch.labels, batch.position_ids) * 2))
        plain = model(input_ids=batch.input_ids, use_cache=False).logits
    assert torch.equal(plain, model(input_ids=batch.input_ids, use_cache=False).logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_attention_under_autocast_is_as_near_as_sdpa(dtype: torch.dtype) -> None:
    model = tiny_model("qwen3").to(dtype)
    losses, batch = TokenLosses(model), packed()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        masked = losses(batch)[1]
        with attend_by_document(losses):
            found = losses(batch)[1]
    torch.testing.assert_close(found, masked, atol=0.15, rtol=0.02)


def test_attention_kept_in_float32_is_computed_by_document(
    kernel_calls: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    dtypes = set[torch.dtype]()
    real = kernels.attend_on_cpu

    def noted(query: Tensor, *args: Any) -> Any:
        dtypes.add(query.dtype)
        return real(query, *args)

    monkeypatch.setattr(kernels, "attend_on_cpu", noted)
    losses, batch = TokenLosses(tiny_model().to(torch.bfloat16)), packed()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        with keep_float32(losses.model, ("attention",)):
            masked = losses(batch)[1]
            with attend_by_document(losses):
                found = losses(batch)[1]
        assert losses.model.config._attn_implementation == "sdpa"
    assert dtypes == {torch.float32}
    assert len(kernel_calls) == 2
    torch.testing.assert_close(found, masked, atol=0.05, rtol=0.01)


def test_recomputed_layers_see_the_documents_of_their_own_pass(kernel_calls: list[int]) -> None:
    model = tiny_model()
    losses, batches = TokenLosses(model), (packed(), packed([(32,), (4, 28)], seed=1))
    expected = [losses_and_gradients(losses, batch)[1] for batch in batches]
    model.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    with attend_by_document(losses):
        passes = [losses(batch)[0] for batch in batches]  # both before the first backward pass
        for found, wanted in zip(passes, expected, strict=True):
            losses.zero_grad()
            found.backward()
            for name, parameter in losses.named_parameters():
                torch.testing.assert_close(parameter.grad, wanted[name], atol=1e-4, rtol=1e-4)
    assert len(kernel_calls) == 8  # two passes of two layers, and each again


def test_a_stage_trains_to_what_it_trains_to_under_a_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel_calls: list[int]
) -> None:
    write_shards(tmp_path / "shards")
    results: list[Path] = []
    for name in ("by_document", "masked"):
        model = graft_model(
            tiny_model(), MoELPR(new_experts=2, token_rows="rare"), rare_tokens=RARE
        )
        train(model, make_loader(tmp_path / "shards"), tmp_path / name, training=training())
        results.append(tmp_path / name)
        monkeypatch.setattr(attention, "_NAMES", {})
    num_calls = len(kernel_calls)
    assert num_calls == 2 * 2 * 10  # layers, micro-batches, steps
    assert not same_weights(*results)  # rounding differs, and so do the last bits
    logs = [[record["loss"] for record in read_log(result)] for result in results]
    assert logs[0] == pytest.approx(logs[1], abs=1e-4)


def test_the_operator_is_one_that_autograd_and_compile_can_trust() -> None:
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(12, 4, 8, generator=generator, requires_grad=True)
    key, value = (torch.randn(12, 2, 8, generator=generator).requires_grad_() for _ in range(2))
    starts = torch.tensor([0, 5, 6, 12], dtype=torch.int32)
    torch.library.opcheck(kernels.attend_documents, (query, key, value, starts, 0.3))
    wide = [part.detach().double().requires_grad_() for part in (query, key, value)]
    assert torch.autograd.gradcheck(
        lambda *parts: kernels.attend_documents(*parts, starts, 0.3)[0], wide
    )


def heads(device: str, *, num_rows: int = 2, dtype: torch.dtype = torch.bfloat16) -> list[Tensor]:
    """Query, key and value as transformers gives them, four heads over two."""
    return [
        torch.randn(num_rows, num, 32, 16, device=device, dtype=dtype, requires_grad=True)
        for num in (4, 2, 2)
    ]


def attend_to(mask: attention.DocumentMask, parts: list[Tensor]) -> Tensor:
    module = nn.Module()
    module.num_key_value_groups = 2
    attend = attention._attention(sdpa_attention_forward, False, True)
    return attend(module, *parts, mask, scaling=0.25, dropout=0.0)[0]


def test_the_call_of_the_gpu_kernel_is_one_that_torch_takes() -> None:
    called: list[str] = []
    with Note(called):  # on tensors without memory, which run no kernel but the checks of one
        parts = heads("meta")
        starts = torch.empty(5, dtype=torch.int32, device="meta")
        mask = attention.DocumentMask(starts, 26, 2, 32)
        flat = [part.transpose(1, 2).flatten(0, 1) for part in parts]
        found = kernels.attend_on_cuda(*flat, mask.starts, mask.longest, 0.25)
        found.sum().backward()
    assert found.shape == (64, 4, 16)
    assert [part.grad.shape for part in parts] == [part.shape for part in parts]
    assert [name for name in called if "varlen" in name] == [
        "torch_attn::_varlen_attn",
        "torch_attn::_varlen_attn_backward",
    ]


class Note(TorchDispatchMode):
    def __init__(self, called: list[str]) -> None:
        super().__init__()
        self._called = called

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._called.append(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_kernel_gives_what_sdpa_gives_under_the_mask() -> None:
    parts = heads("cuda")
    starts = torch.tensor([0, 5, 6, 32, 64], dtype=torch.int32, device="cuda")
    mask = attention.DocumentMask(starts, 32, 2, 32)
    found = attend_to(mask, parts)
    expected = nn.functional.scaled_dot_product_attention(
        parts[0].float(),
        *(part.float().repeat_interleave(2, 1) for part in parts[1:]),
        attn_mask=mask.dense,
        scale=0.25,
    )
    torch.testing.assert_close(found.float(), expected.transpose(1, 2), atol=0.02, rtol=0.02)


@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch asks itself
@pytest.mark.thorough
def test_a_compiled_layer_attends_by_document_in_one_graph(kernel_calls: list[int]) -> None:
    model = tiny_model()
    losses = TokenLosses(model)
    expected = losses_and_gradients(losses, packed())
    for layer in model.model.layers:
        layer.compile(backend="aot_eager", fullgraph=True)
    with attend_by_document(losses):
        for batch in (packed([(8, 24)] * 3, seed=1), packed()):
            found = losses_and_gradients(losses, batch)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
