"""How far do an export's next tokens move when it is loaded in 8 or 4 bits?

    python benchmarks/quantized_loading.py EXPORT [EXPORT ...] --text TEXT.jsonl.gz [TEXT ...]

Each folder is read in 32 bits, in 8 (LLM.int8, arXiv:2208.07339) and in 4 (NF4, arXiv:2305.14314)
by BitsAndBytesConfig; output matrix and routers stay as they are. Printed: megabytes in memory,
and over the first tokens of every text the divergence KL(32 bits || loaded) of the next token's
distribution and how often the most probable token is the same.
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

LOADINGS: dict[str, dict[str, Any]] = {
    "32 bits": {},
    "8 bits": {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)},
    "4 bits": {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
        )
    },
}


def main() -> None:
    given = arguments()
    print("| folder | loaded | MB | KL, nats | same first choice |")
    print("| --- | --- | --: | --: | --: |")
    for folder in given.folders:
        rows = [token_row(folder, path, given.tokens) for path in given.text]
        whole: list[Tensor] = []
        for loaded, settings in LOADINGS.items():
            model: Any = AutoModelForCausalLM.from_pretrained(
                folder, trust_remote_code=True, dtype=torch.float32, **settings
            ).eval()
            with torch.inference_mode():
                found = [model(row_BT).logits[0].log_softmax(dim=-1) for row_BT in rows]
            whole = whole or found
            size = model.get_memory_footprint() / 1e6
            print(f"| {folder.name} | {loaded} | {size:,.0f} | {compared(whole, found)} |")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", help="Exports.")
    parser.add_argument("--text", type=Path, nargs="+", required=True, help="JSON lines, gzipped.")
    parser.add_argument("--tokens", type=int, default=256, help="Of each text.")
    return parser.parse_args()


def token_row(folder: Path, path: Path, num_tokens: int) -> Tensor:
    """Return the first tokens of a text, (1, T)."""
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    ids: list[int] = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            ids += tokenizer(json.loads(line)["text"])["input_ids"]
            if len(ids) >= num_tokens:
                break
    return torch.tensor([ids[:num_tokens]])


def compared(whole: list[Tensor], found: list[Tensor]) -> str:
    """Return the mean divergence and the share of equal first choices, as cells of the table."""
    ours, theirs = torch.cat(whole), torch.cat(found)
    divergence = (ours.exp() * (ours - theirs)).sum(dim=-1).mean().item()
    same = (ours.argmax(dim=-1) == theirs.argmax(dim=-1)).float().mean().item()
    return f"{divergence:.4f} | {same:.1%}"


if __name__ == "__main__":
    main()
