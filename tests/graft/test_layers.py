"""Which layers get experts, and how many."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from langraft.core.errors import ExportError, ModelError
from langraft.export.form import choose_form
from langraft.export.standard import find_twin
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.moe.expanded_ffn import ExpandedFFN
from langraft.graft.surgery import graft_model
from tiny import tiny_config, tiny_model


def experts(model: Any) -> list[int]:
    ffns = [layer.mlp for layer in model.model.layers]
    return [len(f.experts.weight_out) if isinstance(f, ExpandedFFN) else 0 for f in ffns]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"new_experts": 3}, [3, 3, 3]),
        ({"new_experts": 3, "layers": [0, 2]}, [3, 0, 3]),
        ({"new_experts": [1, 0, 4]}, [1, 0, 4]),
    ],
)
def test_experts_stand_where_the_recipe_says(settings: Any, expected: list[int]) -> None:
    model = tiny_model(num_hidden_layers=3)
    ids = torch.arange(1, 13)[None]
    before = model(input_ids=ids).logits
    graft_model(model, MoELPR.model_validate(settings))
    assert experts(model) == expected
    torch.testing.assert_close(model(input_ids=ids).logits, before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"new_experts": [1, 2]}, "lists 2 layers; the base has 3"),
        ({"layers": [1, 3]}, "names layer 3; the base has 3, counted from 0 to 2"),
    ],
)
def test_layers_that_the_base_does_not_have_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        graft_model(tiny_model(num_hidden_layers=3), MoELPR.model_validate(settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"new_experts": [0, 0]}, "at least one layer needs an expert"),
        ({"new_experts": [2, 1], "layers": [0]}, "says already which layers"),
        ({"new_experts": [4, 1], "experts_per_token": 3}, r"1\.\.2 \(new_experts 1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        MoELPR.model_validate(settings)


def test_a_branch_of_one_expert_needs_no_choice() -> None:
    assert MoECT(new_experts=1, experts_per_token=1).experts_per_token == 1
    with pytest.raises(ValidationError, match="never learns"):
        MoECT(new_experts=2, experts_per_token=1)


def test_a_standard_class_must_hold_every_layer() -> None:
    llama, qwen = tiny_config("llama").to_dict(), tiny_config("qwen3").to_dict()
    some, unequal = MoELPR(layers=(0,)), MoELPR(new_experts=(1, 2))
    assert find_twin(llama, [some]).architecture == "MixtralForCausalLM"  # pyright: ignore
    assert find_twin(qwen, [some]).architecture == "Qwen3MoeForCausalLM"  # pyright: ignore
    for config, method, reason in (
        (qwen, unequal, "different numbers of experts"),
        (llama, MoECT(), "a gate between the original"),
        (tiny_config("gemma2").to_dict(), MoELPR(), "'gemma2'"),
    ):
        with pytest.raises(ExportError, match=reason):
            choose_form(config, [method], "standard")
        assert choose_form(config, [method], "auto")[0] is None
        assert reason in choose_form(config, [method], "auto")[1]
