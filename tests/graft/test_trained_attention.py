"""Attention that trains beside the experts: plain in the export, absent under the guard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from langraft.core.errors import ModelError
from langraft.core.settings.stage import Stage
from langraft.export.folder import export_model
from langraft.families.load import load_model
from langraft.graft.freeze import fingerprint_frozen, parameter_groups, set_trainable
from langraft.graft.meta_init import graft_on_meta
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_full import MoEFull
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import load, save
from langraft.graft.surgery import graft_info, graft_model
from tiny import VOCAB_SIZE, tiny_model

METHOD = MoELPR(new_experts=2, attention="trained")
STAGE = Stage(name="extend", tokens=1, mixture={"el": 1})


def ids() -> torch.Tensor:
    return torch.randint(1, VOCAB_SIZE, (2, 24), generator=torch.Generator().manual_seed(1))


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=ids(), use_cache=False).logits


def train_a_little(model: Any) -> set[str]:
    trains = METHOD.complete_stage(STAGE).trains
    assert trains == ("experts", "routers", "attention")
    trained = set_trainable(model, trains, token_rows="frozen")
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        model(input_ids=ids(), labels=ids(), use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return set(trained)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gpt2", "phi3", "cohere2", "bloom"])
def test_it_starts_as_the_base_learns_and_is_gone_under_the_guard(family: str) -> None:
    base = tiny_model(family)
    model = graft_model(tiny_model(family), METHOD)
    before, expected = fingerprint_frozen(model), logits(base)
    torch.testing.assert_close(logits(model), expected, atol=1e-5, rtol=1e-5)
    trained = train_a_little(model)
    found = parameter_groups(model)["attention"]
    assert found.keys() <= trained
    assert all(not torch.equal(p, frozen_of(model, name)) for name, p in found.items())
    assert (logits(model) - expected).abs().max() > 0.01
    model.requires_grad_(False)
    with graft_info(model).guard.guarding([True, False]):
        guarded = logits(model)
    base.requires_grad_(False)
    assert torch.equal(guarded[0], logits(base)[0])
    set_trainable(model, ("experts", "routers", "attention"), token_rows="frozen")
    assert fingerprint_frozen(model) == before


def frozen_of(model: Any, name: str) -> torch.Tensor:
    return model.get_parameter(name.replace(".columns.", ".base."))


@pytest.mark.parametrize(
    ("family", "architecture"),
    [
        ("llama", "MixtralForCausalLM"),
        ("qwen3", "Qwen3MoeForCausalLM"),
        ("gpt2", "GraftedForCausalLM"),
    ],
)
def test_saved_loaded_and_exported_models_are_equal(
    family: str, architecture: str, save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(family)
    model = graft_model(load_model(base), METHOD)
    train_a_little(model)
    save(model, tmp_path / "graft", base=base)
    expected = logits(model)
    torch.testing.assert_close(logits(load(tmp_path / "graft")), expected, atol=1e-6, rtol=1e-6)
    result = export_model(tmp_path / "graft", tmp_path / "export")
    assert result.architecture == architecture
    assert result.largest_difference < 1e-5
    exported = load_model(tmp_path / "export", has_own_code=True)
    torch.testing.assert_close(logits(exported), expected, atol=1e-5, rtol=1e-5)


def test_a_base_in_16_bits_holds_attention_in_its_own_precision(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base("gpt2")
    load_model(base, torch.bfloat16).save_pretrained(base)
    model = graft_model(load_model(base), METHOD)
    train_a_little(model)
    save(model, tmp_path / "graft", base=base)
    assert export_model(tmp_path / "graft", tmp_path / "export").largest_difference < 1e-5


def test_each_process_reads_its_part_out_of_the_base(save_base: Callable[..., Path]) -> None:
    base = save_base()
    whole = dict(graft_model(load_model(base), METHOD).named_parameters())
    unloaded = graft_on_meta(base, METHOD, dtype=torch.float32)
    attention = parameter_groups(unloaded.model)["attention"]
    assert attention
    for name, parameter in attention.items():
        part = tuple(slice(0, max(1, size // 2)) for size in parameter.shape)
        assert torch.equal(unloaded.sources[name](part), whole[name][part])


def test_layers_below_the_first_with_experts_stay_as_they_are() -> None:
    method = MoELPR(new_experts=1, layers=(1,), attention="trained")
    groups = parameter_groups(graft_model(tiny_model(), method))
    assert groups["attention"]
    assert all(".layers.1." in name for name in groups["attention"])


def test_an_expansion_of_a_graft_leaves_attention_as_earlier_languages_learned_it() -> None:
    model = graft_model(tiny_model(), METHOD)
    train_a_little(model)
    with pytest.raises(ModelError, match="would change what an earlier expansion has learned"):
        graft_model(model, METHOD)


def test_settings_that_cannot_work_together_are_refused() -> None:
    with pytest.raises(ValidationError, match="needs no adapters"):
        MoELPR(attention_rank=2, attention="trained")
    with pytest.raises(ValueError, match=r"method\.attention is frozen"):
        MoELPR().complete_stage(STAGE.model_copy(update={"trains": ("attention",)}))
    with pytest.raises(ValueError, match="everything has attention among it"):
        MoEFull(attention="trained").complete_stage(STAGE)
    assert "attention" in (MoECT(attention="trained").complete_stage(STAGE).trains or ())
