"""The benchmark that checks a plan against a real training step, on tiny models."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from langraft.core.settings.training import Training
from langraft.train.preflight import remark_on_precision

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "plan_accuracy.py"
SMALL = {"vocab_size": 512, "num_hidden_layers": 4}
CONFIGURATIONS = (
    ("llama extend", "LLAMA", {"name": "moe_lpr", "new_experts": 3}, "extend", {}),
    ("llama review", "LLAMA", {"name": "moe_lpr", "new_experts": 3}, "review", {}),
    (
        "qwen3 moe_ct, bfloat16",
        "QWEN3",
        {"name": "moe_ct", "new_experts": 2},
        "extend",
        {"dtype": "bfloat16"},
    ),
    (
        "rare rows",
        "LLAMA",
        {"name": "moe_lpr", "new_experts": 3, "token_rows": "rare"},
        "extend",
        {},
    ),
    ("moe_full", "LLAMA", {"name": "moe_full", "new_experts": 3}, "extend", {}),
    ("qwen3 full", "QWEN3", {"name": "full"}, "extend", {}),
    ("llama ssu", "LLAMA", {"name": "ssu"}, "extend", {}),
    ("qwen3 frozen layers", "QWEN3", {"name": "full", "frozen_layers": [1, 2]}, "extend", {}),
    (
        "retain",
        "LLAMA",
        {"name": "moe_lpr", "new_experts": 3},
        {"name": "extend", "mixture": {"en": 1}, "losses": {"retain": 1.0}},
        {},
    ),
    ("llama lora", "LLAMA", {"name": "lora"}, "extend", {"dtype": "bfloat16"}),
)


@pytest.mark.thorough
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=[c[0] for c in CONFIGURATIONS])
def test_planned_memory_and_flops_are_those_of_a_training_step(
    configuration: Any,
) -> None:
    name, base, method, stage, changes = configuration
    if remark_on_precision(Training.model_validate(changes), "cpu"):
        pytest.skip("this processor has no products in bfloat16: minutes for what takes seconds")
    benchmark = runpy.run_path(str(SCRIPT))
    config = benchmark[base] | SMALL
    rows = {"sequence_length": 128, **changes}
    found = benchmark["measure"]((name, config, method, stage, rows))
    memory, flops = found["memory"], found["flops"]
    assert memory["planned"]["peak"] == pytest.approx(memory["measured"], rel=0.1)
    assert flops["planned"] == pytest.approx(flops["measured"], rel=0.1)
