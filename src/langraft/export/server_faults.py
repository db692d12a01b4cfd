"""What servers are known to do to a mixture of experts, each tried on the export itself.

A server that answers as the export does with one of these faults has that fault. Experts of
transformers' classes stand behind a router that returns scores, weights and choices; those of
portable folders are modules, which the folder's own code weighs, so that no server weighs them
in another way.

Shape suffixes: T = tokens, E = experts, D = model width, K = experts a token meets.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from langraft.export.reference import Continuation, continue_greedily
from langraft.export.verify import Comparison, compare

Fault = Callable[[Any], AbstractContextManager[None]]

_VISIBLE = 1e-4  # nats: what changes less is no fault of this model
_ALIKE = 1e-3  # nats: faults that explain the answers as well as each other
_NOISE = 0.7  # of the log-probability of a uniform guess: what a matrix of noise gives its best
_ACTIVATIONS = ("act_fn", "act", "activation_fn")  # as transformers' classes call theirs
_DEFAULT_THETA = 10_000.0


def diagnose(model: Any, comparisons: list[Comparison], tokenizer: Any) -> str:
    """Return which known fault a server has, or an empty string.

    Args:
        model: The export, in float32; as it was when this returns.
        comparisons: With the server that serves it.
        tokenizer: The export's.
    """
    own = _nearness(comparisons)
    found: dict[str, tuple[int, float]] = {}
    for name, fault in _faults(model).items():
        with fault(model):
            explained = _answers(model, comparisons, tokenizer)
        if explained and _is_better(_nearness(explained), own):
            found[name] = _nearness(explained)
    if found:
        num_same, difference = max(found.values(), key=lambda near: (near[0], -near[1]))
        alike = [
            name
            for name, near in found.items()
            if near[0] == num_same and near[1] <= 2 * difference + _ALIKE
        ]
        return " or ".join(alike)
    uniform = -math.log(model.config.get_text_config().vocab_size)
    if all(c.answer.logprobs[0] < _NOISE * uniform for c in comparisons):
        return (
            "its output matrix is noise: the base ties it to the embedding and the server does "
            "not. Export with export.tied: separate"
        )
    return ""


def _answers(model: Any, comparisons: list[Comparison], tokenizer: Any) -> list[Comparison]:
    """Compare a faulty model with the server; empty where it answers otherwise, or as it should."""
    found: list[Comparison] = []
    is_visible = False
    for each in comparisons:
        num_tokens = len(each.expected.ids)
        faulty = continue_greedily(model, each.expected.prompt_ids, num_tokens=num_tokens)
        is_visible |= _differ(faulty, each.expected)
        found.append(compare(faulty, each.answer, tokenizer))
        if found[-1].verdict == "wrong":
            return []
    return found if is_visible else []


def _differ(faulty: Continuation, right: Continuation) -> bool:
    pairs = zip(faulty.logprobs, right.logprobs, strict=True)
    return faulty.ids != right.ids or any(abs(a - b) > _VISIBLE for a, b in pairs)


def _nearness(comparisons: list[Comparison]) -> tuple[int, float]:
    """Return how many tokens agree, and the largest difference of a log-probability."""
    return sum(c.num_same for c in comparisons), max(c.difference for c in comparisons)


def _is_better(faulty: tuple[int, float], own: tuple[int, float]) -> bool:
    """Say whether a fault explains clearly more than rounding, which changes every answer a bit."""
    return faulty[0] > own[0] or (faulty[0] == own[0] and faulty[1] <= own[1] / 2)


def _faults(model: Any) -> dict[str, Fault]:
    """Return the faults that a model of these modules can have, by what they are called."""
    modules = list(model.modules())
    is_portable = any(_is_grafted(module) for module in modules)
    num_experts = max((_num_experts(module) for module in modules), default=0)
    faults: dict[str, Fault] = {
        f"expert {number} is missing": partial(drop_expert, number=number)
        for number in range(num_experts)
    }
    if not is_portable:
        faults |= {
            "the weights of a token's experts are not renormalised": partial(
                reroute, how="softmax"
            ),
            "its router weighs by sigmoid": partial(reroute, how="sigmoid"),
        }
    return faults | {
        "its router is rounded to 8 bits": round_routers,
        "it computes another activation": swap_activation,
        "it reads another rope theta": reset_rope,
        "it ignores the rope's scaling": partial(reset_rope, theta=_theta(model)),
    }


def _is_router(module: nn.Module) -> bool:
    return type(module).__name__.endswith("Router") and hasattr(module, "weight")


def _is_grafted(module: nn.Module) -> bool:
    """Say whether a module is the FFN of a portable folder, whose class comes with the folder."""
    return type(module).__name__ == "GraftedFFN"


def _num_experts(module: Any) -> int:
    if _is_grafted(module):
        return len(_experts(module))
    return len(module.weight) if _is_router(module) else 0


def _experts(ffn: Any) -> list[nn.Module]:
    """Return the experts among which a portable folder's router chooses."""
    return [*ffn.experts] if ffn.gate_kind else [ffn.base, *ffn.experts]


@contextmanager
def drop_expert(model: Any, number: int) -> Generator[None]:
    """Let an expert of every layer that has it add nothing."""

    def nothing(module: Any, inputs: Any, output: Tensor) -> Tensor:
        del module, inputs
        return torch.zeros_like(output)

    def unchosen(logits_TE: Tensor, weights_TK: Tensor, experts_TK: Tensor) -> Tensor:
        del logits_TE
        return weights_TK * (experts_TK != number)

    dropped = [
        _experts(module)[number]
        for module in model.modules()
        if _is_grafted(module) and number < len(_experts(module))
    ]
    handles = [expert.register_forward_hook(nothing) for expert in dropped]
    with _removed_at_the_end(handles), _weighing(model, unchosen):
        yield


@contextmanager
def reroute(model: Any, how: str) -> Generator[None]:
    """Let routers weigh their choices in another way: by ``softmax`` over all, or ``sigmoid``."""

    def weigh(logits_TE: Tensor, weights_TK: Tensor, experts_TK: Tensor) -> Tensor:
        chosen_TE = logits_TE.float().softmax(-1) if how == "softmax" else logits_TE.sigmoid()
        found_TK = chosen_TE.gather(-1, experts_TK).to(weights_TK.dtype)
        return found_TK / found_TK.sum(-1, keepdim=True) if how == "sigmoid" else found_TK

    with _weighing(model, weigh):
        yield


@contextmanager
def _weighing(model: Any, weigh: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Generator[None]:
    """Let transformers' routers give other weights: ``weigh(*what they return)``."""

    def replace(
        module: Any, inputs: Any, output: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        del module, inputs
        logits_TE, _, experts_TK = output
        return logits_TE, weigh(*output), experts_TK

    routers = [module for module in model.modules() if _is_router(module)]
    with _removed_at_the_end([router.register_forward_hook(replace) for router in routers]):
        yield


@contextmanager
def _removed_at_the_end(handles: Iterable[Any]) -> Generator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def round_routers(model: Any) -> AbstractContextManager[None]:
    """Round every router to 8 bits, one scale a matrix."""
    routers = [m.router if _is_grafted(m) else m for m in model.modules() if _num_experts(m)]
    return _replaced((r.weight, "data", _in_8_bits(r.weight.data)) for r in routers)


def _in_8_bits(weight: Tensor) -> Tensor:
    scale = weight.abs().amax() / 127
    return (weight / scale).round() * scale


def swap_activation(model: Any) -> AbstractContextManager[None]:
    """Compute SiLU where the model has another activation, and GELU where it has SiLU."""
    return _replaced(
        (module, name, ACT2FN["gelu" if _is_silu(getattr(module, name)) else "silu"])
        for module in model.modules()
        for name in _ACTIVATIONS
        if isinstance(getattr(module, name, None), nn.Module)
    )


def _is_silu(activation: nn.Module) -> bool:
    x = torch.tensor([1.0])
    return torch.equal(activation(x), nn.functional.silu(x))


def reset_rope(model: Any, theta: float = _DEFAULT_THETA) -> AbstractContextManager[None]:
    """Give every rope a theta, by default what classes have, and no scaling."""
    changes: list[tuple[Any, str, Any]] = []
    for module in model.modules():
        if isinstance(getattr(module, "inv_freq", None), Tensor):
            count = len(module.inv_freq)
            steps = torch.arange(count, dtype=torch.float32) / count
            changes += [(module, "inv_freq", theta**-steps), (module, "attention_scaling", 1.0)]
    return _replaced(changes)


def _theta(model: Any) -> float:
    """Return the theta of a model's rope; where layers differ, what classes have by default."""
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    return rope.get("rope_theta", _DEFAULT_THETA)


@contextmanager
def _replaced(changes: Iterable[tuple[Any, str, Any]]) -> Generator[None]:
    """Set attributes (owner, name, value), and set them back at the end."""
    before: list[tuple[Any, str, Any]] = []
    try:
        for owner, name, value in changes:
            before.append((owner, name, getattr(owner, name)))
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
