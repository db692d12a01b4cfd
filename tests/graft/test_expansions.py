"""A second expansion: new languages later, beside experts that stay as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from langraft.core.errors import ModelError
from langraft.core.settings.languages import Languages
from langraft.export.folder import export_model
from langraft.graft.freeze import parameter_groups, set_trainable
from langraft.graft.methods.full import Full
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_full import MoEFull
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.moe.losses import TokenRoles, mean_over_layers
from langraft.graft.store import load, load_base, save
from langraft.graft.surgery import detach_expansion, graft_info, graft_model
from tiny import VOCAB_SIZE, tiny_model

FIRST = MoELPR(new_experts=3, token_rows="rare", attention_rank=2, output_rank=3)
SECOND = MoELPR(new_experts=2, token_rows="rare", attention_rank="full", output_rank="full")
PLAIN_FIRST = MoELPR(new_experts=3, token_rows="rare")
PLAIN_SECOND = MoELPR(new_experts=2, token_rows="rare")
LANGUAGES = Languages(original=("en",), new=("el", "hu"))
LATER = Languages(original=("en", "el", "hu"), new=("tr",))


def move_newest(model: Any) -> Any:
    """Move what the last expansion may train, as its stages would."""
    groups = parameter_groups(model)
    for group in groups.keys() & set(graft_info(model).method.groups):
        for number, parameter in enumerate(groups[group].values()):
            noise = torch.Generator().manual_seed(number)
            with torch.no_grad():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    return model.eval()


def first(model: Any, method: MoELPR = FIRST) -> Any:
    rare = range(0, VOCAB_SIZE, 3)
    return move_newest(graft_model(model, method, rare_tokens=rare, languages=LANGUAGES))


def second(model: Any, method: MoELPR = SECOND) -> Any:
    rare = range(1, VOCAB_SIZE, 4)
    return move_newest(graft_model(model, method, rare_tokens=rare, languages=LATER, seed=1))


def ids() -> torch.Tensor:
    return torch.randint(1, VOCAB_SIZE, (3, 12), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=ids(), use_cache=False).logits


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "bloom"])
def test_each_guard_gives_back_what_was_there_before_it(family: str) -> None:
    base = tiny_model(family)
    graft = first(copy.deepcopy(base))
    both = second(copy.deepcopy(graft))
    of_base, of_graft, of_both = logits(base), logits(graft), logits(both)
    inner, outer = graft_info(both).expansions
    with outer.guard.guarding([True, True, False]), inner.guard.guarding([True, False, False]):
        found = logits(both)
    assert torch.equal(found[0], of_base[0])
    assert torch.equal(found[1], of_graft[1])
    torch.testing.assert_close(found[2], of_both[2], atol=1e-5, rtol=1e-5)
    for one, other in ((of_base, of_graft), (of_graft, of_both)):
        assert not torch.allclose(one, other, atol=1e-2)


@torch.no_grad()
def test_tokens_that_choose_no_newest_expert_get_what_they_got_before() -> None:
    graft = first(tiny_model(), PLAIN_FIRST)
    both = second(copy.deepcopy(graft), PLAIN_SECOND)
    for layer in both.model.layers:
        layer.mlp.router.weight.zero_()
        layer.mlp.router.weight[:, 0] = -1e4  # far below, where the first dimension is positive
    x_TD = torch.randn(9, 16, generator=torch.Generator().manual_seed(0)).abs()
    for before, after in zip(graft.model.layers, both.model.layers, strict=True):
        torch.testing.assert_close(after.mlp(x_TD), before.mlp(x_TD), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_all_experts_are_one_choice() -> None:
    both = second(first(tiny_model(), PLAIN_FIRST), PLAIN_SECOND)
    ffn = both.model.layers[0].mlp
    x_TD = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    scores_TE = torch.cat([x_TD @ r.weight.T for r in (ffn.base.router, ffn.router)], dim=1)
    chosen = scores_TE.softmax(-1).topk(2)
    weights_TK = chosen.values / chosen.values.sum(-1, keepdim=True)
    expected = torch.zeros_like(x_TD)
    for t in range(len(x_TD)):
        for weight, expert in zip(weights_TK[t], chosen.indices[t], strict=True):
            if expert == 0:
                expected[t] += weight * ffn.original(x_TD[t : t + 1])[0]
                continue
            bank, number = (
                (ffn.base.experts, expert - 1) if expert <= 3 else (ffn.experts, expert - 4)
            )
            gate, up = (bank.weight_in[number] @ x_TD[t]).chunk(2)
            expected[t] += weight * (bank.weight_out[number] @ (bank.activation(gate) * up))
    torch.testing.assert_close(ffn(x_TD), expected, atol=1e-4, rtol=1e-4)
    assert set(chosen.indices.flatten().tolist()) == set(range(6))


def test_only_what_came_last_trains() -> None:
    both = second(first(tiny_model()))
    info = graft_info(both)
    before = copy.deepcopy(dict(both.named_parameters()))
    stage = info.method.complete_stage(info.method.default_stages(LATER, 1000)[0])
    trained = set_trainable(both, stage.trains, token_rows="rare")
    roles = TokenRoles(torch.ones(36, dtype=torch.bool), torch.arange(36) < 18)
    optimizer = torch.optim.AdamW(trained.values(), lr=1e-2, weight_decay=0.1)
    with info.recorder.recording() as recorded:
        loss = both(input_ids=ids(), labels=ids(), use_cache=False).loss
        for name in ("balance", "prior"):
            loss = loss + mean_over_layers(info.method.side_losses()[name], recorded, roles)
    loss.backward()
    optimizer.step()
    moved = {n for n, p in both.named_parameters() if not torch.equal(p, before[n])}
    assert moved == set(trained)
    earlier = parameter_groups(both)["earlier"]
    assert len(earlier) > len(trained) / 2
    assert not moved & set(earlier)


def test_the_prior_of_a_second_expansion_keeps_tokens_with_all_earlier_experts() -> None:
    both = second(first(tiny_model()))
    with graft_info(both).recorder.recording() as recorded:
        logits(both)
        routing = recorded[1]
    expected = routing.logits_TE.softmax(-1)[:, :4].sum(-1)
    torch.testing.assert_close(routing.log_original_T().exp(), expected)


def test_what_is_detached_leaves_the_earlier_graft_bit_for_bit() -> None:
    graft = first(tiny_model())
    expected, names = logits(graft), [n for n, _ in graft.named_parameters()]
    both = second(graft)
    assert not torch.allclose(logits(both), expected, atol=1e-2)
    gone = detach_expansion(both)
    assert gone.languages == LATER
    assert torch.equal(logits(both), expected)
    assert [n for n, _ in both.named_parameters()] == names
    assert "earlier" not in parameter_groups(both)
    with pytest.raises(ModelError, match="expanded once"):
        detach_expansion(both)


def test_a_third_expansion_can_be_detached_as_well() -> None:
    both = second(first(tiny_model()))
    expected, groups = logits(both), {g: set(p) for g, p in parameter_groups(both).items()}
    graft_model(both, PLAIN_SECOND, rare_tokens=range(VOCAB_SIZE), languages=LATER)
    detach_expansion(both)
    assert torch.equal(logits(both), expected)
    assert {g: set(p) for g, p in parameter_groups(both).items()} == groups


def test_saved_and_loaded_models_are_equal(save_base: Callable[..., Path], tmp_path: Path) -> None:
    base = save_base()
    save(first(tiny_model()), tmp_path / "first", base=base)
    both = second(load_base(tmp_path / "first"))
    save(both, tmp_path / "second", base=tmp_path / "first")
    again = load(tmp_path / "second")
    torch.testing.assert_close(logits(again), logits(both), atol=1e-6, rtol=1e-6)
    assert [i.languages for i in graft_info(again).expansions] == [LANGUAGES, LATER]


@pytest.mark.parametrize(
    ("methods", "architecture"),
    [
        ((PLAIN_FIRST, PLAIN_SECOND), "MixtralForCausalLM"),
        ((FIRST, SECOND), "GraftedForCausalLM"),
        ((FIRST, PLAIN_SECOND), "GraftedForCausalLM"),
    ],
)
@pytest.mark.parametrize("is_tied", [True, False])
def test_an_export_equals_the_graft(
    methods: tuple[MoELPR, MoELPR],
    architecture: str,
    is_tied: bool,
    save_base: Callable[..., Path],
    tmp_path: Path,
) -> None:
    base = save_base(tie_word_embeddings=is_tied)
    model = tiny_model(tie_word_embeddings=is_tied)
    both = second(first(model, methods[0]), methods[1])
    save(both, tmp_path / "graft", base=base)
    result = export_model(tmp_path / "graft", tmp_path / "export")
    assert (result.architecture, result.num_experts) == (architecture, 6)
    exported = AutoModelForCausalLM.from_pretrained(
        tmp_path / "export", trust_remote_code=architecture == "GraftedForCausalLM"
    )
    torch.testing.assert_close(logits(exported), logits(both), atol=1e-4, rtol=1e-5)


def test_a_refused_expansion_leaves_the_graft_as_it_was() -> None:
    graft = first(tiny_model())
    groups = {group: set(names) for group, names in parameter_groups(graft).items()}
    for method, problem in (
        (PLAIN_SECOND, "`rare` needs some"),
        (MoELPR(new_experts=(1, 2, 3)), "lists 3 layers; the base has 2"),
    ):
        with pytest.raises(ModelError, match=problem):
            graft_model(graft, method)
        assert {g: set(names) for g, names in parameter_groups(graft).items()} == groups
        assert graft_info(graft).earlier is None


def test_two_expansions_of_one_seed_begin_with_other_routers() -> None:
    model = graft_model(tiny_model(), MoELPR(new_experts=2))
    graft_model(model, MoELPR(new_experts=2))
    ffn = model.model.layers[0].mlp
    assert not torch.allclose(ffn.router.weight, ffn.base.router.weight[:2])


def test_what_trained_the_earlier_graft_cannot_be_detached() -> None:
    both = second(first(tiny_model()))
    graft_info(both).is_base_changed = True
    with pytest.raises(ModelError, match="has trained what was there before it"):
        detach_expansion(both)


@pytest.mark.parametrize(
    ("earlier", "method", "problem"),
    [
        (PLAIN_FIRST, MoEFull(), "moe_full trains everything, the earlier graft included"),
        (PLAIN_FIRST, MoECT(), "moe_ct has no router that the original FFN is an expert of"),
        (MoECT(), MoELPR(), "moe_ct has no router"),
        (PLAIN_FIRST, Full(), "full has no router"),
        (PLAIN_FIRST, MoELPR(experts_per_token=3), "its tokens meet 2 experts, not 3"),
    ],
)
def test_grafts_that_cannot_be_expanded_further_are_refused(
    earlier: Any, method: Any, problem: str
) -> None:
    is_rare = earlier.token_rows == "rare"
    model = graft_model(tiny_model(), earlier, rare_tokens=[1] if is_rare else [])
    with pytest.raises(ModelError, match=problem):
        graft_model(model, method)
