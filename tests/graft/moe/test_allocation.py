"""Experts by layer, from how alike languages look there (LayerMoE)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from langraft.core.errors import ExportError
from langraft.core.settings.languages import Languages
from langraft.export.standard import find_twin
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.moe.allocation import (
    allocate_experts,
    allocate_whole_layers,
    layer_similarities,
)
from langraft.recipes.load import load_recipe
from langraft.recipes.run import run
from tiny import tiny_config, tiny_model

LANGUAGES = Languages(original=("en",), new=("el", "hu"))


def test_the_rule_equals_a_case_computed_by_hand() -> None:
    # 1/S = 1, 2, 5: of 16 experts 2, 4 and 10.
    assert allocate_experts([1.0, 0.5, 0.2], 16) == (2, 4, 10)
    assert allocate_experts([1.0, 0.5, 0.2], 3) == (1, 1, 2)  # rounded up


def test_whole_layers_go_to_the_least_alike() -> None:
    assert allocate_whole_layers([0.9, 0.2, 0.5, 0.7], budget=6, each=3) == (0, 3, 3, 0)
    assert allocate_whole_layers([0.9, 0.2], budget=1, each=3) == (0, 3)


def test_similarity_is_the_cosine_of_mean_hidden_states_before_each_ffn() -> None:
    model = tiny_model()
    draw = torch.Generator().manual_seed(0)
    rows = {
        code: [torch.randint(1, 320, (1, length), generator=draw) for length in (7, 12)]
        for code in ("en", "el", "hu")
    }
    means: dict[str, list[torch.Tensor]] = {}
    for code, texts in rows.items():
        seen: list[list[torch.Tensor]] = [[], []]
        for number, layer in enumerate(model.model.layers):
            layer.mlp.register_forward_pre_hook(
                lambda _, inputs, at=seen[number]: at.append(inputs[0][0])
            )
        for ids in texts:
            model(input_ids=ids)
        for layer in model.model.layers:
            layer.mlp._forward_pre_hooks.clear()
        means[code] = [torch.cat(states).mean(0) for states in seen]
    cosine = nn.functional.cosine_similarity
    expected = [
        sum(cosine(means["en"][n], means[code][n], dim=0).item() for code in ("el", "hu")) / 2
        for n in (0, 1)
    ]
    found = layer_similarities(model, rows, LANGUAGES)
    assert found == pytest.approx([max(1e-3, e) for e in expected], rel=1e-4)
    assert not any(layer.mlp._forward_pre_hooks for layer in model.model.layers)


def test_a_method_takes_its_counts_from_the_probe() -> None:
    probed = MoELPR(new_experts=4, allocation="probe", expert_budget=0.5).allocated([1.0, 0.25])
    assert probed.new_experts == (1, 4)  # 4 experts in all: 0.8 and 3.2
    assert probed.allocation == "uniform"
    layers = MoELPR(new_experts=4, allocation="probe_layers", expert_budget=0.5)
    assert layers.allocated([1.0, 0.25]).new_experts == (0, 4)
    # Beside a gate K new experts must be there to choose from.
    assert MoECT(new_experts=4, allocation="probe").allocated([1.0, 0.05]).new_experts == (2, 8)


def test_allocation_and_given_layers_contradict_each_other() -> None:
    with pytest.raises(ValidationError, match="say already which layers"):
        MoELPR(new_experts=(1, 2), allocation="probe")
    with pytest.raises(ValidationError, match="say already which layers"):
        MoELPR(layers=(0,), allocation="probe_layers")


def test_a_standard_format_is_promised_only_where_one_holds_the_allocation() -> None:
    qwen, llama = tiny_config("qwen3").to_dict(), tiny_config("llama").to_dict()
    for config in (qwen, llama):
        assert find_twin(config, [MoELPR(allocation="probe_layers")]) is not None
        with pytest.raises(ExportError):
            find_twin(config, [MoELPR(allocation="probe")])


@pytest.mark.parametrize(
    ("architecture", "allocation"), [("llama", "probe"), ("qwen3", "probe_layers")]
)
def test_a_run_probes_its_own_text_and_exports_what_came_out(
    architecture: str,
    allocation: str,
    small_recipe: dict[str, Any],
    tmp_path: Path,
) -> None:
    small_recipe["base"]["architecture"] = architecture
    small_recipe["base"]["config"]["head_dim"] = 8
    small_recipe["method"] |= {"allocation": allocation, "expert_budget": 0.5}
    small_recipe["baselines"] = []
    path = tmp_path / "r.json"
    path.write_text(json.dumps(small_recipe))
    result = run(load_recipe(path), tmp_path / "run")
    assert result.steps["allocate"] == "ran"
    manifest = json.loads((tmp_path / "run/allocate/manifest.json").read_text())
    assert len(manifest["counts"]["similarities"]) == 2
    described = json.loads((tmp_path / "run/graft/graft.json").read_text())
    counts = described["method"]["new_experts"]
    config = json.loads((tmp_path / "run/export/config.json").read_text())
    if allocation == "probe":
        is_equal = len(set(counts)) == 1
        standard, portable = "MixtralForCausalLM", "GraftedForCausalLM"
        assert config["architectures"] == [standard if is_equal else portable]
    else:
        assert sorted(counts) == [0, 2]
        assert config["architectures"] == ["Qwen3MoeForCausalLM"]
    again = run(load_recipe(path), tmp_path / "run")
    assert set(again.steps.values()) == {"finished"}
