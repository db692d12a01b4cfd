"""What a step would gain if oneDNN multiplied float32 matrices on a processor instead of MKL.

python benchmarks/linear_kernels.py [--rounds 3]

A graft of SmolLM2-135M's shape (two new experts, random weights) takes whole steps, forward and
backward, with torch's own linear layers and with oneDNN's in their place, turn about. langraft
leaves the choice to torch unless this shows that a step loses over a tenth.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from langraft.graft.freeze import set_trainable
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_model

ROWS, LENGTH = 2, 512
SHAPE = {  # SmolLM2-135M
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "vocab_size": 49_152,
    "tie_word_embeddings": True,
}


def onednn(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``a @ b.T + bias`` of matrices by oneDNN."""
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")


class OneDNNLinear(torch.autograd.Function):
    """A linear layer whose three products are oneDNN's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return (..., G) of (..., D) and a weight (G, D)."""
        flat = x.reshape(-1, x.shape[-1])
        ctx.save_for_backward(flat, weight)
        ctx.shape = x.shape
        return onednn(flat, weight, bias).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Return the gradients that are wanted."""
        flat, weight = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, len(weight))
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        return (
            onednn(gradient, weight.T.contiguous()).view(ctx.shape) if wants_x else None,
            onednn(gradient.T.contiguous(), flat.T.contiguous()) if wants_weight else None,
            gradient.sum(0) if wants_bias else None,
        )


def linear_by_onednn(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return OneDNNLinear.apply(x, weight, bias)


def step_seconds(model: Any, input_ids: Tensor) -> float:
    started = time.monotonic()
    model(input_ids=input_ids, labels=input_ids, use_cache=False).loss.backward()
    model.zero_grad()
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.manual_seed(0)
    method = MoELPR(new_experts=2)
    model = graft_model(LlamaForCausalLM(LlamaConfig(**SHAPE)), method)
    set_trainable(model, ("experts", "routers"), token_rows="frozen")
    input_ids = torch.randint(SHAPE["vocab_size"], (ROWS, LENGTH))
    plain = nn.functional.linear
    seconds: dict[str, list[float]] = {"torch": [], "oneDNN": []}
    for number in range(given.rounds + 1):
        for name, linear in (("torch", plain), ("oneDNN", linear_by_onednn)):
            nn.functional.linear = linear
            found = step_seconds(model, input_ids)
            nn.functional.linear = plain
            if number:  # the first round makes kernels
                seconds[name].append(found)
    tokens = ROWS * LENGTH
    for name, each in seconds.items():
        middle = statistics.median(each)
        spread = f"{tokens / max(each):.0f} to {tokens / min(each):.0f}"
        print(f"{name:8} {tokens / middle:7.0f} tokens/s ({spread})")
    ratio = statistics.median(seconds["torch"]) / statistics.median(seconds["oneDNN"])
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"a step by torch's own takes {ratio:.2f} times as long ({capability})")


if __name__ == "__main__":
    main()
