"""What servers are known to do to a mixture of experts, each recomputed on a copy of the export.

A server that answers as one of these copies does has that fault. Experts of transformers' classes
are stacked, (E, 2F, D) and (E, D, F), beside a router that returns scores, weights and choices.

Shape suffixes: T = tokens, E = experts, D = model width, F = FFN width, K = experts a token meets.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from langraft.export.reference import continue_greedily
from langraft.export.verify import Comparison

_NEAR = 0.05  # nats: a copy that answers as the server does
_SWAPPED = {"silu": "gelu", "gelu": "silu", "gelu_pytorch_tanh": "silu"}
_NOISE = 0.7  # of the log-probability of a uniform guess: what a matrix of noise gives its best


def diagnose(model: Any, comparisons: list[Comparison]) -> str:
    """Return which known fault a server has, or an empty string.

    Args:
        model: The export, in float32.
        comparisons: With the server that serves it.
    """
    first = [(c.expected.prompt_ids, c.answer.logprobs) for c in comparisons]
    distances = {
        name: max(_distance(broken, ids, said) for ids, said in first)
        for name, broken in _broken_copies(model)
    }
    name = min(distances, key=lambda each: distances[each])
    if distances[name] <= _NEAR:
        return name
    uniform = -math.log(model.config.vocab_size)
    if all(logprobs[0] < _NOISE * uniform for _, logprobs in first):
        return (
            "its output matrix is noise: the base ties it to the embedding and the server does "
            "not. Export with export.tied: separate"
        )
    return ""


def _distance(model: Any, prompt_ids: list[int], said: list[float]) -> float:
    """Return how far a model's log-probability of its own first token is from what was said."""
    return abs(continue_greedily(model, prompt_ids, num_tokens=1).logprobs[0] - said[0])


def _broken_copies(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield the export with each fault, by what it is called."""
    routers = [m for m in model.modules() if _is_router(m)]
    num_experts = routers[0].weight.shape[0] if routers else 0
    faults: dict[str, Callable[[Any], None]] = {
        f"expert {number} is missing": partial(drop_expert, number=number)
        for number in range(num_experts)
    }
    faults |= {
        "the weights of a token's experts are not renormalised": partial(reroute, how="softmax"),
        "its router weighs by sigmoid": partial(reroute, how="sigmoid"),
        "its router is rounded to 8 bits": round_routers,
        "it computes another activation": swap_activation,
        "it reads another rope theta, or ignores the rope's scaling": reset_rope,
    }
    for name, break_it in faults.items():
        broken = copy.deepcopy(model)
        break_it(broken)
        yield name, broken


def _is_router(module: nn.Module) -> bool:
    return type(module).__name__.endswith("Router") and hasattr(module, "weight")


def drop_expert(model: Any, number: int) -> None:
    """Let an expert of every layer add nothing."""
    for module in model.modules():
        down = getattr(module, "down_proj", None)
        if isinstance(down, nn.Parameter) and down.ndim == 3:
            down.data[number] = 0


def reroute(model: Any, how: str) -> None:
    """Let routers weigh their choices in another way."""

    def weigh(module: Any, inputs: Any, output: tuple[Tensor, Tensor, Tensor]) -> Any:
        del module, inputs
        logits_TE, weights_TK, experts_TK = output
        chosen_TE = logits_TE.float().softmax(-1) if how == "softmax" else logits_TE.sigmoid()
        found_TK = chosen_TE.gather(-1, experts_TK).to(weights_TK.dtype)
        if how == "sigmoid":
            found_TK = found_TK / found_TK.sum(-1, keepdim=True)
        return logits_TE, found_TK, experts_TK

    for module in model.modules():
        if _is_router(module):
            module.register_forward_hook(weigh)


def round_routers(model: Any) -> None:
    """Round every router to 8 bits, one scale a matrix."""
    for module in model.modules():
        if _is_router(module):
            scale = module.weight.data.abs().amax() / 127
            module.weight.data = (module.weight.data / scale).round() * scale


def swap_activation(model: Any) -> None:
    """Compute SiLU where the model has GELU, and the other way round."""
    from transformers.activations import ACT2FN

    swapped = ACT2FN[_SWAPPED.get(model.config.hidden_act, "silu")]
    for module in model.modules():
        if hasattr(module, "act_fn"):
            module.act_fn = swapped


def reset_rope(model: Any) -> None:
    """Give every rope the theta that classes have by default, and no scaling."""
    for module in model.modules():
        if isinstance(getattr(module, "inv_freq", None), Tensor):
            steps = torch.arange(len(module.inv_freq), dtype=torch.float32) / len(module.inv_freq)
            module.inv_freq = 10_000.0**-steps
            module.attention_scaling = 1.0
