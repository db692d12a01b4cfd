"""Run one method of a recipe with experts of random weights instead of copies of the FFN.

python benchmarks/random_experts.py benchmarks/recipes/ablations.yaml random_experts --out runs/x

An ablation of MoE-LPR (arXiv:2408.11396, "no copy"). The function at step 0 is then not the base's,
so langraft itself has no such option.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from langraft.graft.moe import experts
from langraft.recipes.compare import compare_methods
from langraft.recipes.load import load_recipe


def random_stack(tensor: Tensor, num_experts: int) -> nn.Parameter:
    """Draw weights with the spread of the FFN's own; biases start at zero."""
    drawn = torch.zeros(num_experts, *tensor.shape)
    if tensor.ndim == 2 and not tensor.is_meta:  # a plan counts without weights
        drawn.normal_(std=tensor.float().std().item(), generator=torch.Generator().manual_seed(0))
    return nn.Parameter(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe")
    parser.add_argument("method", help="Its key among the recipe's methods.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    given = parser.parse_args()
    experts._stack = random_stack
    recipe = load_recipe(given.recipe, given.changes)
    compare_methods(recipe, given.out, methods=[given.method])


if __name__ == "__main__":
    main()
