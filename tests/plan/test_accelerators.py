from __future__ import annotations

import json
import math
from typing import Any

import pytest
from typer.testing import CliRunner

from langraft.cli.main import app
from langraft.core.errors import RecipeError
from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model
from langraft.plan.accelerators import ACCELERATORS, find_accelerator
from langraft.plan.hardware import find_hardware
from langraft.plan.plan import plan_method
from tiny import tiny_model


def planned(accelerator: str, dtype: str, devices: int = 1) -> Any:
    model = graft_model(tiny_model(), MoELPR(new_experts=2))
    stage = Stage(name="s", tokens=1024, mixture={"el": 1}, trains=("experts",), losses={})
    training = Training.model_validate(
        {"sequence_length": 64, "batch_rows": 8, "micro_rows": 4, "dtype": dtype}
    )
    return plan_method(model, (stage,), training, "m", find_hardware(accelerator, devices))


@pytest.mark.parametrize("given", ["RTX-4090", "rtx4090", "rtx 4090", "RTX4090"])
def test_a_name_is_found_however_it_is_written(given: str) -> None:
    assert find_accelerator(given) is ACCELERATORS["RTX-4090"]


def test_an_unknown_accelerator_is_answered_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r'\{"tflops": 165, "memory": 24\}.*mean \'H100\''):
        find_hardware("h10")


def test_the_command_names_every_known_accelerator() -> None:
    shown = CliRunner().invoke(app, ["plan", "--help"], terminal_width=300).output
    assert [name for name in (*ACCELERATORS, "cpu", "tflops") if name not in shown] == []


def test_a_card_without_bfloat16_is_planned_in_float32_and_says_so() -> None:
    half, whole = (planned("T4", dtype) for dtype in ("bfloat16", "float32"))
    assert half.hardware.accelerator.peak_flops == whole.hardware.accelerator.peak_flops == 8.1e12
    assert half.stages[0].speed.product_seconds == whole.stages[0].speed.product_seconds
    assert "T4 has no products in bfloat16" in " ".join(half.notes)
    assert not any("float16" in note for note in whole.notes)
    assert not any("float16" in note for note in planned("A10G", "bfloat16").notes)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_accelerator_in_json_has_the_peak_and_memory_given(dtype: str) -> None:
    card = planned('{"tflops": 165, "memory": 24}', dtype).hardware.accelerator
    assert (card.peak_flops, card.memory_bytes) == (165e12, 24 * 2**30)
    assert math.isinf(card.link)


def test_an_accelerator_in_json_is_planned_as_the_known_one_of_its_figures() -> None:
    known = ACCELERATORS["RTX-4090"]
    figures = {"tflops": 165.2, "memory": 24, "memory_bandwidth": 1008, "link": 32, "network": 1.25}
    found = planned(json.dumps(figures), "bfloat16", devices=2)
    assert found.stages[0].speed == planned(known.name, "bfloat16", devices=2).stages[0].speed
    assert found.notes == ()


def test_devices_whose_link_is_not_given_are_noted() -> None:
    notes = planned('{"tflops": 165, "memory": 24}', "bfloat16", devices=2).notes
    assert "communication counts as taking no time" in notes[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ('{"tflop": 165, "memory": 24}', r"tflop: unknown key\. Did you mean 'tflops'"),
        ('{"tflops": 165}', "memory: this key is required"),
        ('{"tflops": "fast", "memory": 24}', "tflops: given 'fast'"),
        ('{"tflops": 0, "memory": 24}', "tflops: given 0; .*greater than 0"),
        ('{"tflops": 165, "memory": NaN}', "memory: given nan"),
        ('{"tflops": 165, "memory": 24, "link": -1}', "link: given -1"),
        ("{tflops: 165, memory: 24}", "is not JSON .*single quotes"),
        ("{" * 10_000, "is not JSON"),
    ],
)
def test_an_accelerator_in_wrong_json_is_refused_with_the_mistake(given: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        find_hardware(given)
