"""Adapters compute for the right forward pass: two before a backward pass, recomputed, in parts."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    CheckpointImpl,
    apply_activation_checkpointing,
    checkpoint_wrapper,
)
from torch.utils.checkpoint import checkpoint

from langraft.core.errors import ModelError
from langraft.core.settings.languages import Languages
from langraft.families.sites import decoder_layers
from langraft.graft.freeze import parameter_groups
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import graft_info, graft_model
from langraft.train.compute.recompute import recompute_layers
from tiny import VOCAB_SIZE, tiny_model

METHODS = {
    "moe_lpr": MoELPR(new_experts=2, attention_rank=2, output_rank=2),
    "moe_ct": MoECT(new_experts=2, attention_rank="full", output_rank=2, token_rows="rare"),
}


def ids(seed: int, rows: int = 2, length: int = 7) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, VOCAB_SIZE, (rows, length), generator=generator)


PAIRS = {"equal": (ids(1), ids(2)), "unequal": (ids(1), ids(2, 3, 5))}


@torch.no_grad()
def moved(model: Any) -> Any:
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if any(part in name for part in (".experts.", ".deltas.", ".adapter_up.", ".router.")):
            noise = torch.Generator().manual_seed(number)
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    return model


def adapted(method: str = "moe_lpr", family: str = "llama", **changes: Any) -> Any:
    rows = range(0, VOCAB_SIZE, 3) if METHODS[method].token_rows == "rare" else ()
    base = tiny_model(family, num_hidden_layers=3, **changes)
    return moved(graft_model(base, METHODS[method], rare_tokens=rows)).train()


def trained(model: Any) -> dict[str, torch.nn.Parameter]:
    model.requires_grad_(False)
    found = {
        n: p for group, own in parameter_groups(model).items() if group for n, p in own.items()
    }
    for parameter in found.values():
        parameter.requires_grad_(True)
    return found


def gradients_of(model: Any, loss_of: Callable[[Any], torch.Tensor]) -> dict[str, torch.Tensor]:
    parameters = trained(model)
    loss_of(model).backward()
    found = {n: p.grad for n, p in parameters.items() if p.grad is not None}
    assert any(".experts." in n and bool(g.any()) for n, g in found.items())
    return found


def two_passes(pair: tuple[torch.Tensor, torch.Tensor]) -> Callable[[Any], torch.Tensor]:
    def loss_of(model: Any) -> torch.Tensor:
        first, second = (
            model(input_ids=each, use_cache=False).logits.log_softmax(-1) for each in pair
        )
        return first[..., 3].sum() + (second[..., 5] ** 2).sum()

    return loss_of


def wrapped(implementation: CheckpointImpl) -> Callable[[Any], None]:
    def recompute(model: Any) -> None:
        layers = set(decoder_layers(model)[1])
        apply_activation_checkpointing(
            model,
            checkpoint_wrapper_fn=lambda m: checkpoint_wrapper(m, implementation),
            check_fn=lambda module: module in layers,
        )

    return recompute


def by_transformers(*, is_reentrant: bool) -> Callable[[Any], None]:
    def recompute(model: Any) -> None:
        enable = getattr(model, "activation_checkpointing_enable", None)  # its name from 5.23
        (enable or model.gradient_checkpointing_enable)({"use_reentrant": is_reentrant})

    return recompute


RECOMPUTED: dict[str, Callable[[Any], Any]] = {
    "transformers": by_transformers(is_reentrant=False),
    "reentrant": by_transformers(is_reentrant=True),
    "selective": lambda m: recompute_layers(m, "selective"),
    "langraft": lambda m: recompute_layers(m, True),
    "wrapped": wrapped(CheckpointImpl.NO_REENTRANT),
    "wrapped, reentrant": wrapped(CheckpointImpl.REENTRANT),
}


def assert_equal(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    found = {name.replace("_checkpoint_wrapped_module.", ""): g for name, g in found.items()}
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        rounding = 1e-4 * max(1.0, float(gradient.abs().max()))
        difference = float((found[name] - gradient).abs().max())
        assert difference <= rounding, f"{name}: {difference}, {rounding} allowed"


@pytest.mark.parametrize("pair", list(PAIRS.values()), ids=list(PAIRS))
@pytest.mark.parametrize("how", list(RECOMPUTED))
@pytest.mark.parametrize("method", list(METHODS))
def test_two_passes_before_a_backward_have_the_gradients_of_the_plain_computation(
    method: str, how: str, pair: tuple[torch.Tensor, torch.Tensor]
) -> None:
    wanted = gradients_of(adapted(method), two_passes(pair))
    model = adapted(method)
    RECOMPUTED[how](model)
    assert_equal(gradients_of(model, two_passes(pair)), wanted)


@pytest.mark.parametrize("family", ["gpt2", "bloom", "olmo2", "gemma2", "falcon"])
@pytest.mark.parametrize("how", ["transformers", "reentrant"])
def test_so_they_have_in_other_families(how: str, family: str) -> None:
    pair = PAIRS["unequal"]
    wanted = gradients_of(adapted(family=family), two_passes(pair))
    model = adapted(family=family)
    RECOMPUTED[how](model)
    assert_equal(gradients_of(model, two_passes(pair)), wanted)


@pytest.mark.parametrize("how", list(RECOMPUTED))
def test_so_they_have_after_a_second_expansion_with_guarded_sequences(how: str) -> None:
    def make() -> Any:
        languages = Languages(original=("en",), new=("el",))
        first = graft_model(
            tiny_model(num_hidden_layers=3), METHODS["moe_lpr"], languages=languages
        )
        return moved(graft_model(moved(first), METHODS["moe_lpr"], seed=1)).train()

    def loss_of(model: Any) -> torch.Tensor:
        with graft_info(model).guard.guarding([True, False]):
            guarded = model(input_ids=ids(1), use_cache=False).logits
            hidden = model(input_ids=ids(2), use_cache=False).logits
            (guarded[..., 3].sum() + hidden[..., 5].sum()).backward()
        return model(input_ids=ids(3, 3, 4), use_cache=False).logits[..., 3].sum()

    wanted = gradients_of(make(), loss_of)
    model = make()
    RECOMPUTED[how](model)
    assert_equal(gradients_of(model, loss_of), wanted)


@pytest.mark.parametrize("how", list(RECOMPUTED))
@pytest.mark.parametrize("method", ["plain", *METHODS])
def test_what_was_guarded_in_a_pass_is_guarded_when_it_is_computed_again(
    method: str, how: str
) -> None:
    def make() -> Any:
        if method != "plain":
            return adapted(method)
        return moved(graft_model(tiny_model(num_hidden_layers=3), MoELPR(new_experts=2))).train()

    def loss_of(model: Any) -> torch.Tensor:
        found: list[torch.Tensor] = []
        for guarded, each in (([True, False], ids(1)), ([], ids(2)), ([False, True], ids(3))):
            with graft_info(model).guard.guarding(guarded):
                found.append(model(input_ids=each, use_cache=False).logits.log_softmax(-1))
        return sum((logits[..., 3] ** 2).sum() for logits in found)  # pyright: ignore

    wanted = gradients_of(make(), loss_of)
    model = make()
    RECOMPUTED[how](model)
    assert_equal(gradients_of(model, loss_of), wanted)
    assert graft_info(model).guard.is_guarded == ()


def in_chunks(model: Any, hidden: torch.Tensor, how: str) -> torch.Tensor:
    """Return the logits of hidden states, computed part by part."""
    head = model.lm_head
    match how:
        case "sequences":
            return torch.cat([head(hidden[row : row + 1]) for row in range(len(hidden))])
        case "tokens":
            return torch.cat([head(part) for part in hidden.split(3, dim=1)], dim=1)
        case "flat":
            parts = [head(part) for part in hidden.flatten(0, 1).split(4)]
            return torch.cat(parts).view(*hidden.shape[:2], -1)
        case "one by one":
            return torch.stack([torch.stack([head(d) for d in row]) for row in hidden])
        case "every other":
            both = [head(hidden[:, start::2]) for start in (0, 1)]
            return torch.stack([both[s % 2][:, s // 2] for s in range(hidden.shape[1])], dim=1)
        case "turned":
            return head(hidden.transpose(0, 1)).transpose(0, 1)
        case "checkpointed" | "checkpointed, reentrant":
            once = partial(checkpoint, head, use_reentrant="reentrant" in how)
            return torch.cat([once(part) for part in hidden.split(3, dim=1)], dim=1)
        case _:
            return head(hidden)


CHUNKS = ("sequences", "tokens", "flat", "one by one", "every other", "turned", "whole")


@pytest.mark.parametrize("how", [*CHUNKS, "checkpointed", "checkpointed, reentrant"])
@pytest.mark.parametrize("is_recomputed", [False, True])
def test_the_output_matrix_on_chunks_has_the_logits_and_gradients_of_the_whole(
    is_recomputed: bool, how: str
) -> None:
    def whole(model: Any) -> torch.Tensor:
        logits = [model(input_ids=i, use_cache=False).logits for i in (ids(1), ids(2, 3, 5))]
        return sum((each.log_softmax(-1)[..., 3] ** 2).sum() for each in logits)  # pyright: ignore

    def chunked(model: Any) -> torch.Tensor:
        hidden = [
            model.model(input_ids=i, use_cache=False).last_hidden_state
            for i in (ids(1), ids(2, 3, 5))
        ]
        logits = [in_chunks(model, each, how) for each in hidden]  # after both passes
        return sum((each.log_softmax(-1)[..., 3] ** 2).sum() for each in logits)  # pyright: ignore

    wanted = gradients_of(adapted(), whole)
    model = adapted()
    if is_recomputed:
        RECOMPUTED["transformers"](model)
    assert_equal(gradients_of(model, chunked), wanted)


@torch.no_grad()
def test_what_a_pass_cannot_know_is_refused() -> None:
    model = adapted().eval()
    expected = model(input_ids=ids(1), use_cache=False).logits
    hidden = model.model(input_ids=ids(1), use_cache=False).last_hidden_state
    assert torch.equal(model.lm_head(hidden), expected)
    for copied in (hidden.clone(), hidden[:, [1, 2]], hidden[:, :-1].contiguous(), hidden * 2):
        with pytest.raises(ModelError, match="no slice of what the model's last passes returned"):
            model.lm_head(copied)
    with pytest.raises(ModelError, match="was called by itself"):
        model.model.layers[1](hidden, position_embeddings=model.model.rotary_emb(hidden, ids(1)))


def test_recomputing_from_copies_is_refused() -> None:
    model = adapted()
    trained(model)
    RECOMPUTED["wrapped"](model)
    copies = torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone(), lambda t: t)
    with copies:
        loss = two_passes(PAIRS["equal"])(model)
    with pytest.raises(ModelError, match="computed again from a copy of its input"):
        loss.backward()


@torch.no_grad()
def test_wanted_tokens_of_one_call_are_forgotten_by_the_next() -> None:
    model = adapted().eval()
    expected = model(input_ids=ids(1), use_cache=False).logits
    model(input_ids=ids(1), use_cache=False, logits_to_keep=1)
    hidden = model.model(input_ids=ids(1), use_cache=False).last_hidden_state
    assert torch.equal(model.lm_head(hidden), expected)


def test_a_failed_pass_leaves_nothing_behind() -> None:
    model = adapted()
    RECOMPUTED["transformers"](model)
    hook = model.model.layers[2].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        model(input_ids=ids(3))
    hook.remove()
    wanted = gradients_of(adapted(), two_passes(PAIRS["equal"]))
    assert_equal(gradients_of(model, two_passes(PAIRS["equal"])), wanted)


@pytest.mark.parametrize("remade", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_made_between_two_passes_has_passes_of_its_own(
    remade: Callable[[Any], Any],
) -> None:
    wanted = gradients_of(adapted(), two_passes(PAIRS["equal"]))
    model = adapted()
    RECOMPUTED["langraft"](model)
    parameters = trained(model)
    loss = model(input_ids=PAIRS["equal"][0], use_cache=False).logits.log_softmax(-1)[..., 3].sum()
    copied = remade(model)
    assert_equal(gradients_of(copied, two_passes(PAIRS["equal"])), wanted)
    second = model(input_ids=PAIRS["equal"][1], use_cache=False).logits.log_softmax(-1)[..., 5]
    (loss + (second**2).sum()).backward()
    assert_equal({n: p.grad for n, p in parameters.items() if p.grad is not None}, wanted)


def test_passes_that_nothing_needs_are_let_go() -> None:
    model = adapted().eval()
    passes = graft_info(model).context.passes
    for number in range(5):
        with torch.no_grad():
            model(input_ids=ids(number))
    assert len(passes._alive) == 1  # pyright: ignore[reportPrivateUsage]
    losses = [model(input_ids=ids(number)).logits.sum() for number in range(3)]
    assert len(passes._alive) >= 3  # pyright: ignore[reportPrivateUsage]
    del losses
    model(input_ids=ids(0))
    assert len(passes._alive) == 1  # pyright: ignore[reportPrivateUsage]
