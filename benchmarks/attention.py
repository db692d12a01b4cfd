"""Measure what attention document by document saves of a training step.

python benchmarks/attention.py [--model small|large] [--dtype float32|bfloat16] [--length 1024]
    [--data FOLDER] [--threads 1]

A step is one forward and one backward pass of a Llama with two new experts a layer (MoE-LPR's
first stage: experts and routers train) over at least 1,024 tokens. Documents have the lengths of
real ones, a token for every four characters of the Swahili and English text in the folder; the
tokens are random. "Attention" is what SDPA takes of the step under a mask, forward and backward,
"mask" what transformers takes to write the mask out. Each figure is of the second step; the first
is not counted. Without a choice all are measured, apart from each other; results are kept in
benchmarks/results/attention.json.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import platform
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "attention.json"
MODELS = {"small": (4, 256), "large": (8, 512)}
DTYPES = ("float32", "bfloat16")
LENGTHS = (512, 1024, 4096)
VOCAB_SIZE = 16_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", choices=MODELS)
    parser.add_argument("--dtype", choices=DTYPES)
    parser.add_argument("--length", type=int, choices=LENGTHS)
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data" / "mono")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    if given.model and given.dtype and given.length:
        keep(measure(given.model, given.dtype, given.length, given.data, given.threads))
        return
    for model, dtype, length in itertools.product(MODELS, DTYPES, LENGTHS):
        if given.model in (None, model) and given.dtype in (None, dtype):
            choice = ["--model", model, "--dtype", dtype, "--length", str(length)]
            choice += ["--data", str(given.data), "--threads", str(given.threads)]
            subprocess.run([sys.executable, __file__, *choice], check=True)
    show()


def measure(model: str, dtype: str, length: int, data: Path, threads: int) -> dict[str, Any]:
    import torch
    import transformers

    torch.set_num_threads(threads)
    rows = packed_lengths(data, length, max(1, 1024 // length))
    step = make_step(*MODELS[model], dtype, rows)
    masked, share = step(by_document=False)
    alone, _ = step(by_document=True)
    return {
        "model": model,
        "dtype": dtype,
        "length": length,
        "documents": sum(map(len, rows)),
        "rows": len(rows),
        "masked_seconds": masked,
        "by_document_seconds": alone,
        "attention_share": share["attention"] / masked,
        "mask_share": share["mask"] / masked,
        "threads": threads,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "processor": processor(),
    }


def make_step(num_layers: int, width: int, dtype_name: str, rows: list[list[int]]) -> Any:
    """Return a function that times a step: seconds, and seconds of attention and of the mask."""
    import torch
    from torch.profiler import profile
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.masking_utils import create_causal_mask

    from langraft.curriculum.loader import Batch
    from langraft.graft.freeze import set_trainable
    from langraft.graft.methods.moe_lpr import MoELPR
    from langraft.graft.surgery import graft_model
    from langraft.train.compute.chunked_loss import TokenLosses
    from langraft.train.compute.document_attention import attend_by_document

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=width,
        intermediate_size=width * 11 // 4,
        num_hidden_layers=num_layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 128,
        head_dim=64,
    )
    dtype = getattr(torch, dtype_name)
    model = graft_model(LlamaForCausalLM(config).to(dtype), MoELPR(new_experts=2)).train()
    set_trainable(model, ("experts", "routers"), token_rows="frozen")
    losses = TokenLosses(model)
    positions = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in rows])
    ids, labels = torch.randint(0, VOCAB_SIZE, (2, *positions.shape))
    batch = Batch(ids, labels, positions, torch.zeros_like(ids), ids >= 0)
    enabled = dtype != torch.float32

    def once() -> float:
        before = time.perf_counter()
        with torch.autocast("cpu", dtype, enabled=enabled):
            loss = losses(batch)[0].mean()
        loss.backward()
        return time.perf_counter() - before

    def mask_seconds() -> float:
        embedded = torch.empty(*ids.shape, width, dtype=dtype)
        before = time.perf_counter()
        create_causal_mask(model.config, embedded, None, None, position_ids=positions)
        return time.perf_counter() - before

    def attention_seconds() -> float:
        with profile() as profiler:
            once()
        names = (
            "aten::scaled_dot_product_attention",
            "aten::_scaled_dot_product_flash_attention_for_cpu_backward",
        )
        found = [event.cpu_time_total for event in profiler.key_averages() if event.key in names]
        return sum(found) / 1e6

    def step(*, by_document: bool) -> tuple[float, dict[str, float]]:
        if by_document:
            with attend_by_document(losses):
                once()
                return once(), {}
        once()
        best = once()
        return best, {"attention": attention_seconds(), "mask": min(mask_seconds() for _ in "12")}

    return step


def packed_lengths(data: Path, length: int, num_rows: int) -> list[list[int]]:
    """Cut a stream of documents into rows; returns the lengths of each row's documents."""
    found: list[int] = []
    for code in ("sw", "en"):
        with gzip.open(data / f"{code}.jsonl.gz", "rt") as lines:
            first = itertools.islice(lines, 100)
            found += [max(1, len(json.loads(line)["text"]) // 4) for line in first]
    random.Random(1).shuffle(found)
    starts = [0, *itertools.accumulate(found)]
    edges = range(0, (num_rows + 1) * length, length)
    cuts = sorted({*edges, *(start for start in starts if start < num_rows * length)})
    lengths = [
        [b - a for a, b in itertools.pairwise(cuts) if a // length == row]
        for row in range(num_rows)
    ]
    assert all(sum(row) == length for row in lengths)
    return lengths


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def keep(found: dict[str, Any]) -> None:
    """Add a result to those kept, in the place of an older one of the same choice."""
    choice = ("model", "dtype", "length", "threads")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    results = [each for each in results if any(each[key] != found[key] for key in choice)]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([*results, found], indent=1) + "\n")


def show() -> None:
    print(
        "| model | dtype | rows | documents | step, ms | attention | mask | by document, ms |"
        " faster |"
    )
    print("| --- | --- | --: | --: | --: | --: | --: | --: | --: |")
    for each in json.loads(RESULTS.read_text()):
        layers, width = MODELS[each["model"]]
        masked, alone = each["masked_seconds"], each["by_document_seconds"]
        print(
            f"| {layers} x {width} | {each['dtype']} | {each['rows']} x {each['length']} | "
            f"{each['documents']} | {1000 * masked:.0f} | {each['attention_share']:.0%} | "
            f"{each['mask_share']:.1%} | {1000 * alone:.0f} | {masked / alone:.2f}x |"
        )


if __name__ == "__main__":
    main()
