"""Compare what ``langraft plan`` predicts with what a training step takes.

python benchmarks/plan_accuracy.py --out plan_accuracy.json

For each configuration one stage of two steps of two micro-batches runs through ``train_stage``, on
random tokens and weights, on the CPU:

    memory   the most bytes that torch's allocator had given out at once, from the profiler's record
             of every allocation; beside it the growth of the process's peak resident memory
    FLOPs    what torch.utils.flop_counter knows, and what it leaves out on a CPU

Configurations in bfloat16 are left out where the processor has no products in it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.flop_counter import flop_registry
from transformers import AutoConfig, AutoModelForCausalLM

from langraft.core.files import write_json
from langraft.core.settings.languages import Languages
from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.corpus.storage.shards import ShardWriter, TokenShards
from langraft.curriculum.index import MixtureIndex
from langraft.curriculum.loader import PackedLoader
from langraft.curriculum.schedule import MixtureSchedule
from langraft.graft.method import AbstractMethod
from langraft.graft.methods import METHODS
from langraft.graft.surgery import graft_model
from langraft.graft.wrappers.column_choice import planned_free_columns
from langraft.plan.hardware import Hardware
from langraft.plan.plan import plan_method
from langraft.train.loop import train_stage
from langraft.train.preflight import remark_on_precision
from langraft.train.processes.group import Processes

LANGUAGES = Languages(original=("en",), new=("el",))
LLAMA = {
    "model_type": "llama",
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "vocab_size": 8192,
    "max_position_embeddings": 1024,
}
QWEN3 = LLAMA | {"model_type": "qwen3", "head_dim": 64}
GPT2 = {
    "model_type": "gpt2",
    "n_embd": 512,
    "n_layer": 6,
    "n_head": 8,
    "n_positions": 1024,
    "attn_pdrop": 0,
    "embd_pdrop": 0,
    "resid_pdrop": 0,
    "vocab_size": 8192,
    "tie_word_embeddings": True,
}
ROWS = {"sequence_length": 512, "micro_rows": 4, "batch_rows": 8}
BFLOAT16 = {"dtype": "bfloat16"}
MOE_LPR = {"name": "moe_lpr", "new_experts": 5}

Configuration = tuple[str, dict[str, Any], dict[str, Any], str | dict[str, Any], dict[str, Any]]
# What is measured: a name, the base's config, the method, its stage (by name, or with keys of its
# own), and of training.
CONFIGURATIONS: tuple[Configuration, ...] = (
    ("llama moe_lpr extend", LLAMA, MOE_LPR, "extend", {}),
    ("llama moe_lpr extend, true", LLAMA, MOE_LPR, "extend", {"activation_checkpointing": True}),
    (
        "llama moe_lpr extend, selective",
        LLAMA,
        MOE_LPR,
        "extend",
        {"activation_checkpointing": "selective"},
    ),
    ("llama moe_lpr extend, bfloat16", LLAMA, MOE_LPR, "extend", BFLOAT16),
    (
        "llama moe_lpr review, bfloat16",
        LLAMA | {"hidden_size": 1024, "intermediate_size": 3072},
        MOE_LPR,
        "review",
        BFLOAT16,
    ),
    ("qwen3 moe_lpr review", QWEN3, MOE_LPR, "review", {"micro_rows": 8}),
    ("qwen3 moe_ct extend", QWEN3, {"name": "moe_ct", "new_experts": 3}, "extend", {}),
    (
        "qwen3 full, true",
        QWEN3 | {"hidden_size": 768},
        {"name": "full"},
        "extend",
        {"activation_checkpointing": True, "micro_rows": 8},
    ),
    ("gpt2 full", GPT2, {"name": "full"}, "extend", {"micro_rows": 2}),
    ("gpt2 moe_lpr extend", GPT2, MOE_LPR, "extend", {}),
    ("llama lora, bfloat16", LLAMA, {"name": "lora"}, "extend", BFLOAT16),
    (
        "llama moe_lpr extend, retain",
        LLAMA | {"vocab_size": 32768},
        MOE_LPR,
        {"name": "extend", "mixture": {"en": 1}, "losses": {"retain": 1.0}},
        {},
    ),
    ("llama llama_pro", LLAMA, {"name": "llama_pro", "new_blocks": 2}, "extend", {}),
    (
        "llama moe_lpr extend, 128k entries",
        LLAMA | {"vocab_size": 131072, "hidden_size": 256},
        MOE_LPR,
        "extend",
        {},
    ),
    (
        "qwen3 full, 128k entries, bfloat16",
        QWEN3 | {"vocab_size": 131072, "hidden_size": 256},
        {"name": "full"},
        "extend",
        BFLOAT16,
    ),
)


def build(config: dict[str, Any], method: AbstractMethod, training: Training, device: str) -> Any:
    """Return a grafted model of random weights, its base in the training's precision."""
    given = AutoConfig.for_model(**config)
    with torch.device(device):
        model: Any = AutoModelForCausalLM.from_config(given, dtype=getattr(torch, training.dtype))
    rare = range(0, config["vocab_size"], 2) if method.token_rows == "rare" else ()
    choice = method.column_choice
    columns = planned_free_columns(model, choice.frozen_share) if choice else None
    return graft_model(model, method, rare_tokens=rare, free_columns=columns, languages=LANGUAGES)


def make_stage(method: AbstractMethod, given: str | dict[str, Any], training: Training) -> Stage:
    """Return two steps of a stage."""
    tokens = 2 * training.batch_rows * training.sequence_length
    keys = {"name": given} if isinstance(given, str) else given
    whole = {"tokens": tokens, "mixture": {"el": 1}} | keys
    return method.complete_stage(Stage.model_validate(whole))


def make_loader(folder: Path, stage: Stage, training: Training, vocab_size: int) -> PackedLoader:
    """Return random text in documents of 200 tokens and less, as rows cut them."""
    (stream,) = stage.mixture
    generator = torch.Generator().manual_seed(0)
    writer = ShardWriter(folder / stream, vocab_size)
    for number in range(stage.tokens // 200 + 10):
        tokens = torch.randint(1, vocab_size, (200,), generator=generator)
        writer.add(tokens.numpy(), f"{stream}-{number}")
    writer.close()
    shards = {stream: TokenShards(folder / stream)}
    rows = {stream: shards[stream].num_tokens // training.sequence_length}
    index = MixtureIndex(MixtureSchedule({stream: 1.0}), rows, 0, stage.name)
    return PackedLoader(index, shards, LANGUAGES.all, training.sequence_length)


def train(model: Any, stage: Stage, training: Training, vocab_size: int) -> None:
    """Train the stage's two steps."""
    with tempfile.TemporaryDirectory() as folder:
        train_stage(
            model,
            stage=stage,
            training=training,
            languages=LANGUAGES,
            loader=make_loader(Path(folder), stage, training, vocab_size),
            seed=0,
            folder=Path(folder),
            processes=Processes(0, 1, torch.device("cpu")),
            console=Console(quiet=True),
        )


def peak_bytes(model: Any, run: Any) -> int:
    """Return the most bytes that were allocated at once while ``run`` ran, the model's included."""
    held = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
        for t in (*model.parameters(), *model.buffers())
    }
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    live, peak = 0, 0
    for event in sorted(recorded.profiler.kineto_results.events(), key=lambda e: e.start_ns()):
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return sum(held.values()) + peak


def grouped_mm_flops(a_shape: Any, b_shape: Any, *rest: Any, **others: Any) -> int:
    """Count what torch leaves out: rows times both widths, forward and for either gradient."""
    del rest, others
    return 2 * a_shape[0] * a_shape[1] * b_shape[-1]


def causal_attention_flops(q_shape: Any, *rest: Any, **others: Any) -> int:
    """Count what torch leaves out on a CPU: two products over half of all pairs of tokens."""
    del rest, others
    batch, heads, length, width = q_shape
    return 2 * batch * heads * length * length * width


def causal_attention_backward_flops(_: Any, q_shape: Any, *rest: Any, **others: Any) -> int:
    """Five products, one of them the scores again."""
    return causal_attention_flops(q_shape, *rest, **others) * 5 // 2


def grouped_linear_flops(x_shape: Any, weight_shape: Any, *rest: Any, **others: Any) -> int:
    """Rows times both widths, of the products of langraft/graft/moe/grouped_linear.py."""
    del rest, others
    return 2 * x_shape[0] * weight_shape[1] * weight_shape[2]


def grouped_weights_flops(gradient_shape: Any, x_shape: Any, *rest: Any, **others: Any) -> int:
    """Rows times both widths."""
    del rest, others
    return 2 * x_shape[0] * gradient_shape[1] * x_shape[1]


UNCOUNTED: dict[Any, Any] = {
    torch.ops.aten._grouped_mm: grouped_mm_flops,
    torch.ops.langraft.grouped_linear: grouped_linear_flops,
    torch.ops.langraft.grouped_linear_grad_input: grouped_linear_flops,
    torch.ops.langraft.grouped_linear_grad_weight: grouped_weights_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: causal_attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        causal_attention_backward_flops
    ),
}


class FlopCount(TorchDispatchMode):
    """Counts operations as torch's FlopCounterMode does, without its hooks on modules."""

    def __init__(self) -> None:
        """Start at nothing."""
        super().__init__()
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operator and add its operations."""
        result = func(*args, **(kwargs or {}))
        name = func._overloadpacket
        if name in UNCOUNTED:
            self.total += UNCOUNTED[name](*tree_map(_shape, args))
        elif name in flop_registry:
            self.total += flop_registry[name](*args, **(kwargs or {}), out_val=result)
        return result


def _shape(each: Any) -> Any:
    return each.shape if isinstance(each, torch.Tensor) else each


def measure(configuration: Configuration) -> dict[str, Any]:
    """Predict and measure one configuration."""
    name, config, settings, given_stage, changes = configuration
    method = METHODS[settings["name"]].model_validate(dict(settings))
    training = Training.model_validate(ROWS | changes)
    stage = make_stage(method, given_stage, training)
    empty = build(config, method, training, "meta")
    plan = plan_method(empty, (stage,), training, method.key, Hardware(is_cpu=True)).stages[0]
    vocab_size = config["vocab_size"]
    counted = build(config, method, training, "cpu")
    with FlopCount() as counter:
        train(counted, stage, training, vocab_size)
    del counted
    model = build(config, method, training, "cpu")
    peak = peak_bytes(model, lambda: train(model, stage, training, vocab_size))
    flops = counter.total / plan.tokens
    return {
        "configuration": name,
        "memory": {"planned": plan.memory.to_json(), "measured": peak},
        "flops": {"planned": plan.flops_per_token, "measured": flops},
    }


def resident_bytes(number: int) -> int:
    """Return by how much training raised the peak resident memory over that after the imports."""
    _, config, settings, given_stage, changes = CONFIGURATIONS[number]
    method = METHODS[settings["name"]].model_validate(dict(settings))
    training = Training.model_validate(ROWS | changes)
    before = _peak_resident()
    model = build(config, method, training, "cpu")
    train(model, make_stage(method, given_stage, training), training, config["vocab_size"])
    return _peak_resident() - before


def _peak_resident() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def main() -> None:
    """Measure each configuration in processes of its own and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="Where the figures go, as JSON.")
    parser.add_argument("--only", type=int, help="Measure this configuration alone.")
    parser.add_argument("--resident", action="store_true", help="Only its resident memory.")
    given = parser.parse_args()
    if given.resident:
        print(resident_bytes(given.only))
        return
    rows: list[dict[str, Any]] = []
    print(f"{'':38} {'planned':>8} {'measured':>8} {'error':>6} {'RSS':>6}   FLOPs: error")
    for number in range(len(CONFIGURATIONS)) if given.only is None else [given.only]:
        if remark_on_precision(Training.model_validate(CONFIGURATIONS[number][4]), "cpu"):
            continue
        row = measure(CONFIGURATIONS[number])
        command = [sys.executable, __file__, "--only", str(number), "--resident"]
        row["memory"]["resident"] = int(subprocess.check_output(command, text=True).split()[-1])
        rows.append(row)
        memory, flops = row["memory"], row["flops"]
        planned = memory["planned"]["peak"]
        print(
            f"{row['configuration']:38} {planned / 2**20:8.0f} {memory['measured'] / 2**20:8.0f} "
            f"{planned / memory['measured'] - 1:+6.1%} {memory['resident'] / 2**20:6.0f}   "
            f"{flops['planned'] / flops['measured'] - 1:+.1%}",
            flush=True,
        )
    if given.out is not None:
        write_json(given.out, {"configurations": rows})


if __name__ == "__main__":
    main()
