"""Bits per byte on text that changes language with each sentence, of a base and grafts of it.

    python benchmarks/real_mixed.py BASE GRAFT [GRAFT ...] --pairs PATH/en-{language}.jsonl.gz

Documents of eight sentences, every second one English, from aligned text that no stage of
``benchmarks/recipes/smollm2.yaml`` reads. Gain is the mean over the new languages of how many bits
per byte fewer than the base's. In float32, without a guard.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from table import print_table
from transformers import AutoModelForCausalLM

import langraft
from langraft.evaluate.heldout import score_heldout
from langraft.evaluate.mixed_language import read_mixed
from langraft.tokenizers.document_tokenizer import DocumentTokenizer

ROW = 512


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", type=Path)
    parser.add_argument("grafts", type=Path, nargs="+", help="Folders graft/ of runs.")
    parser.add_argument("--pairs", required=True, help="Aligned text, {language} in its name.")
    parser.add_argument("--new", nargs="+", default=["el", "hu", "tr"], metavar="LANG")
    parser.add_argument("--documents", type=int, default=16, help="Of each new language.")
    given = parser.parse_args()

    tokenizer = DocumentTokenizer(given.base)
    texts = {code: read_mixed(given.pairs, "en", code)[: given.documents] for code in given.new}

    def score(model: Any) -> dict[str, float]:
        model.eval()
        return {
            f"English and {code}": score_heldout(model, found, tokenizer, ROW).bits_per_byte
            for code, found in texts.items()
        }

    before = score(AutoModelForCausalLM.from_pretrained(given.base, dtype=torch.float32))
    after = {folder: score(langraft.load(folder)) for folder in given.grafts}
    gains = [fmean(before[name] - found[name] for name in before) for found in after.values()]
    rows = {"gain": ["", *(f"{gain:.3f}" for gain in gains)]} | {
        name: [f"{found[name]:.3f}" for found in (before, *after.values())] for name in before
    }
    print_table("", ["base", *(f"`{folder}`" for folder in after)], rows)


if __name__ == "__main__":
    main()
