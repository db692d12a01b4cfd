from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from stage_setup import RARE, grafted, make_loader, stage, training, write_shards
from test_train_stage import StopAfter, same_weights, train
from torch import nn

from langraft.core.errors import RecipeError
from langraft.curriculum.loader import PackedLoader
from langraft.graft.freeze import fingerprint_frozen, set_trainable
from langraft.graft.methods.full import Full
from langraft.graft.methods.llama_pro import LlamaPro
from langraft.graft.methods.lora import LoRA
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model
from langraft.train.compute.quantize import QuantizedLinear, quantize_frozen
from langraft.train.log import read_log
from langraft.train.preflight import check_settings, remark_on_precision
from tiny import DECODERS, tiny_model

pytest.importorskip("bitsandbytes")

CPU = torch.device("cpu")
KINDS: list[Any] = ["int8", "int4"]


@pytest.fixture
def loader(tmp_path: Path) -> PackedLoader:
    write_shards(tmp_path / "shards")
    return make_loader(tmp_path / "shards")


@pytest.mark.parametrize(("kind", "times"), [("int8", 3.9), ("int4", 7.5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_matrix_takes_a_fraction_of_its_bytes(
    kind: Any, times: float, dtype: torch.dtype
) -> None:
    base = nn.Linear(256, 512, dtype=dtype).requires_grad_(False)
    coded = QuantizedLinear(base, kind, CPU)
    state = coded._state
    parts = [coded.codes, state.absmax, *([state.state2.absmax] if state.state2 else [])]
    held = sum(part.nbytes for part in parts)
    assert base.weight.numel() * 4 / held > times
    assert coded.weight.dtype == dtype


@pytest.mark.parametrize(("kind", "error"), [("int8", 0.02), ("int4", 0.12)])
def test_products_and_their_gradients_are_near_the_exact_ones(kind: Any, error: float) -> None:
    torch.manual_seed(0)
    base = nn.Linear(128, 96).requires_grad_(False)
    x = torch.randn(2, 5, 128, requires_grad=True)
    exact, coded = base(x), QuantizedLinear(base, kind, CPU)(x)
    assert (coded - exact).norm() < error * exact.norm()
    wanted, found = (torch.autograd.grad(y.square().sum(), x)[0] for y in (exact, coded))
    assert (found - wanted).norm() < 2 * error * wanted.norm()
    with torch.autocast("cpu", torch.bfloat16):
        assert QuantizedLinear(base, kind, CPU)(x).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_stage_over_codes_learns_nearly_what_it_would_have(
    loader: PackedLoader, tmp_path: Path, kind: Any, dtype: str
) -> None:
    losses: list[list[float]] = []
    for name, coded in (("exact", None), ("coded", kind)):
        model = graft_model(
            tiny_model().to(getattr(torch, dtype)),
            MoELPR(new_experts=2, token_rows="rare"),
            rare_tokens=RARE,
        )
        settings = training(quantize_frozen=coded, dtype=dtype)
        train(model, loader, tmp_path / name, stage=stage(lr=3e-3), training=settings)
        losses.append([record["loss"] for record in read_log(tmp_path / name)])
    assert losses[1] != losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_stage_over_codes_equals_an_uninterrupted_one(
    loader: PackedLoader, tmp_path: Path, kind: Any
) -> None:
    settings = training(quantize_frozen=kind, activation_checkpointing="selective")
    train(grafted(), loader, tmp_path / "whole", training=settings)
    broken: Any = StopAfter(loader, 5)
    with pytest.raises(KeyboardInterrupt):
        train(grafted(), broken, tmp_path / "resumed", training=settings)
    train(grafted(), loader, tmp_path / "resumed", training=settings)
    assert same_weights(tmp_path / "whole", tmp_path / "resumed")


@pytest.mark.parametrize(
    ("method", "trains"),
    [
        (MoECT(new_experts=2), ("experts", "routers", "gates")),
        (MoELPR(new_experts=2, attention_rank=2), ("experts", "routers", "adapters")),
        (LoRA(rank=2), ("adapters",)),
        (LlamaPro(new_blocks=1), ("blocks",)),
    ],
    ids=["moe_ct", "adapters", "lora", "llama_pro"],
)
def test_methods_that_keep_a_base_train_over_codes(
    loader: PackedLoader, tmp_path: Path, method: Any, trains: Any
) -> None:
    if isinstance(method, LoRA):
        pytest.importorskip("peft")
    its_stage = stage(trains=trains, losses={}, lr=3e-3)
    losses: list[list[float]] = []
    for kind in (None, "int8"):
        model = graft_model(tiny_model(), method)
        settings = training(quantize_frozen=kind)
        train(model, loader, tmp_path / str(kind), stage=its_stage, training=settings)
        found = [m for m in model.modules() if isinstance(m, QuantizedLinear)]
        assert bool(found) == (kind is not None)
        losses.append([record["loss"] for record in read_log(tmp_path / str(kind))])
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize("model_type", [name for name in DECODERS if name != "gpt2"])
def test_every_family_runs_over_codes(model_type: str) -> None:
    model = graft_model(tiny_model(model_type), MoELPR(new_experts=1))
    set_trainable(model, ("experts",), token_rows="frozen")
    ids = torch.arange(24).view(1, 24)
    with torch.no_grad():
        exact = model(input_ids=ids).logits.log_softmax(-1)
        replaced = quantize_frozen(model, "int8", CPU)
        coded = model(input_ids=ids).logits.log_softmax(-1)
    assert len(replaced) >= 2 * 4 or model_type in ("bloom", "falcon", "phi3")
    assert (coded - exact).exp().sub(1).abs().mean() < 0.25


@pytest.mark.parametrize("kind", KINDS)
def test_the_proof_that_nothing_frozen_moved_reads_codes_and_scales(kind: Any) -> None:
    model = grafted()
    set_trainable(model, ("experts",), token_rows="rare")
    quantize_frozen(model, kind, CPU)
    before = fingerprint_frozen(model)
    layer = next(m for m in model.modules() if isinstance(m, QuantizedLinear))
    layer.codes[0] ^= 1
    assert fingerprint_frozen(model) != before
    layer.codes[0] ^= 1
    assert fingerprint_frozen(model) == before
    model(input_ids=torch.arange(8).view(1, 8))
    assert fingerprint_frozen(model) == before


def test_a_model_without_frozen_projections_is_refused(
    loader: PackedLoader, tmp_path: Path
) -> None:
    model = graft_model(tiny_model("gpt2"), MoELPR(new_experts=2))
    settings = training(quantize_frozen="int8")
    with pytest.raises(RecipeError, match="no frozen linear projection"):
        train(model, loader, tmp_path / "run", stage=stage(losses={}), training=settings)


def test_a_stage_that_trains_everything_is_left_as_it_is(
    loader: PackedLoader, tmp_path: Path
) -> None:
    for name, kind in (("exact", None), ("coded", "int8")):
        model = graft_model(tiny_model(), Full())
        its_stage = stage(trains="everything", losses={})
        settings = training(quantize_frozen=kind)
        train(model, loader, tmp_path / name, stage=its_stage, training=settings)
    assert same_weights(tmp_path / "exact", tmp_path / "coded")


def test_layers_that_stay_frozen_are_coded_where_the_rest_trains(
    loader: PackedLoader, tmp_path: Path
) -> None:
    model: Any = graft_model(tiny_model(), Full(frozen_layers=(0, 0)))
    everything = stage(trains="everything", losses={})
    settings = training(quantize_frozen="int8")
    train(model, loader, tmp_path / "run", stage=everything, training=settings)
    kinds = [type(layer.mlp.up_proj).__name__ for layer in model.model.layers]
    assert kinds == ["QuantizedLinear", "Linear"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("has_products", [True, False])
def test_a_device_without_products_in_bfloat16_is_told(
    monkeypatch: pytest.MonkeyPatch, has_products: bool, device: str
) -> None:
    monkeypatch.setattr("langraft.train.preflight._multiplies_bfloat16", lambda _: has_products)
    found = remark_on_precision(training(dtype="bfloat16"), device)
    assert bool(found) == (not has_products)
    assert not remark_on_precision(training(), device)


def test_several_processes_and_pages_without_a_gpu_are_refused_first() -> None:
    for settings in ({"quantize_frozen": "int4"}, {"optimizer": "adamw_8bit"}):
        with pytest.raises(RecipeError, match="in one process, and there are 2"):
            check_settings(training(**settings), 2, "cuda")
        check_settings(training(**settings), 1, "cpu")
    with pytest.raises(RecipeError, match="trains on its CPU"):
        check_settings(training(optimizer="paged_adamw_8bit"), 1, "cpu")
