"""Plan five new experts on published models for one to 512 accelerators, as a table for the docs.

python benchmarks/plan_table.py --out docs/guide/plan_table.txt

The models are built here of their public configurations, without weights; nothing is measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from langraft.core.files import write_text
from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model
from langraft.plan.hardware import find_hardware
from langraft.plan.plan import Plan, plan_method

TOKENS = 1_000_000_000
TRAINING = Training(sequence_length=4096, batch_rows=512, micro_rows=1, dtype="bfloat16")
MODELS: dict[str, dict[str, Any]] = {
    "Llama-3.2-1B": {
        "model_type": "llama",
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "vocab_size": 128256,
        "tie_word_embeddings": True,
    },
    "Qwen3-8B": {
        "model_type": "qwen3",
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
    },
    "Llama-3.1-70B": {
        "model_type": "llama",
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 128256,
    },
}
COLUMNS = (
    "base",
    "devices",
    "micro_rows",
    "recompute",
    "mesh",
    "memory a device",
    "tokens/s",
    "hours",
    "GPU-hours",
)


def plan(config: dict[str, Any], accelerator: str, num_devices: int) -> Plan:
    """Plan the paper's first stage on a model."""
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
    method = MoELPR(new_experts=5)
    stage = method.complete_stage(Stage(name="extend", tokens=TOKENS, mixture={"el": 1}))
    hardware = find_hardware(accelerator, num_devices)
    return plan_method(graft_model(model, method), (stage,), TRAINING, method.key, hardware)


def row(base: str, planned: Plan) -> str:
    """Return a line of the table."""
    hardware, search = planned.hardware, planned.search
    assert hardware.accelerator is not None
    assert search is not None
    start = [base, f"{hardware.num_devices} {hardware.accelerator.name}"]
    if search.training is None or search.memory is None:
        takes = search.problem.split(" It takes ")[-1]
        return " | ".join([*start, "does not fit", "", "", "", "", "", takes])
    mesh, speed = search.training.mesh, search.speeds[0]
    shards = hardware.num_devices // mesh.replicate
    shown = f"{mesh.replicate} x {shards}" + (f", expert {mesh.expert}" * (mesh.expert > 1))
    cells = [
        str(search.training.micro_rows),
        str(search.training.activation_checkpointing).lower(),
        shown,
        f"{search.memory.peak / 2**30:.0f} GiB",
        f"{speed.tokens_per_second:,.0f}",
        f"{speed.hours:,.2f}",
        f"{speed.device_hours:,.0f}",
    ]
    return " | ".join([*start, *cells])


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="Markdown file that gets the table.")
    given = parser.parse_args()
    lines = [" | ".join(COLUMNS), " | ".join(["---"] * 2 + ["--:"] * 7)]
    for base, config in MODELS.items():
        for accelerator in ("H100", "H200"):
            for num_devices in (1, 8, 64, 512):
                lines.append(row(base, plan(config, accelerator, num_devices)))
    text = "".join(f"| {line} |\n" for line in lines)
    if given.out is None:
        print(text)
    else:
        write_text(given.out, text)


if __name__ == "__main__":
    main()
