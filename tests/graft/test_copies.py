"""``copy.deepcopy`` of a graft is another graft: own guard, own recorders, own experts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel

from langraft.core.settings.languages import Languages
from langraft.graft.freeze import parameter_groups
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.moe.expanded_ffn import expanded_ffns
from langraft.graft.store import load, save
from langraft.graft.surgery import detach_expansion, graft_info, graft_model
from langraft.tokenizers.extension import Extension
from tiny import VOCAB_SIZE, tiny_model

LANGUAGES = Languages(original=("en",), new=("el",))
METHODS = {
    "moe_lpr": MoELPR(new_experts=2, token_rows="rare", attention_rank=2, output_rank=2),
    "moe_ct": MoECT(new_experts=2, token_rows="rare", attention_rank=2, output_rank=2),
}
ENGLISH, GREEK = torch.tensor([[1, 3, 5, 9, 3]]), torch.tensor([[200, 3, 5, 9, 3]])


class Decoder:
    """A tokenizer whose texts are the first token."""

    def decode(self, ids: torch.Tensor, **options: Any) -> str:
        del options
        return str(int(ids[0]))


@torch.no_grad()
def moved(model: Any, seed: int = 0) -> Any:
    """Move what the newest expansion added, so that it shows."""
    earlier = parameter_groups(model).get("earlier", {})
    for number, (name, parameter) in enumerate(model.named_parameters()):
        parts = (".experts.", ".deltas.", ".adapter_up.", ".new_rows.")
        if name not in earlier and any(part in name for part in parts):
            noise = torch.Generator().manual_seed(seed + number)
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    return model.eval()


def grafted(method: str = "moe_lpr", *, is_watching: bool = False, family: str = "llama") -> Any:
    model = graft_model(
        tiny_model(family), METHODS[method], rare_tokens=range(0, 320, 3), languages=LANGUAGES
    )
    if is_watching:
        watch(model)
    return moved(model)


def watch(model: Any) -> None:
    for expansion in graft_info(model).expansions:
        judge = lambda texts: [int(text) < 100 for text in texts]  # noqa: E731
        expansion.guard.watch_prompts(model, judge, Decoder())


@torch.no_grad()
def logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    return model(input_ids=ids, use_cache=False).logits


@pytest.mark.parametrize("make_copy", [copy.deepcopy, AveragedModel])
@pytest.mark.parametrize("before", [ENGLISH, GREEK, None])
@pytest.mark.parametrize("method", list(METHODS))
def test_a_copy_guards_its_own_prompts_whatever_was_asked_before(
    method: str, before: torch.Tensor | None, make_copy: Callable[[Any], Any]
) -> None:
    base, unguarded = tiny_model(), grafted(method)
    original = grafted(method, is_watching=True)
    if before is not None:
        logits(original, before)
    copied = make_copy(original)
    for _ in range(2):
        assert torch.equal(logits(copied, GREEK), logits(unguarded, GREEK))
        assert torch.equal(logits(copied, ENGLISH), logits(base, ENGLISH))
        assert torch.equal(logits(original, GREEK), logits(unguarded, GREEK))
    assert not torch.allclose(logits(unguarded, ENGLISH), logits(base, ENGLISH), atol=1e-3)


def test_prompts_of_a_copy_leave_the_original_in_its_generation() -> None:
    original = grafted(is_watching=True)
    with torch.no_grad():
        expected = original(input_ids=GREEK, use_cache=True)
        step = {"input_ids": GREEK[:, :1], "use_cache": True}
        wanted = original(past_key_values=copy.deepcopy(expected.past_key_values), **step).logits
        logits(copy.deepcopy(original), ENGLISH)
        found = original(past_key_values=expected.past_key_values, **step).logits
    assert torch.equal(found, wanted)


def test_a_copy_of_a_loaded_graft_keeps_its_guard(
    save_base: Callable[..., Path], tokenizer_folder: Path, tmp_path: Path
) -> None:
    pytest.importorskip("lingua")
    from transformers import AutoTokenizer

    base = save_base()
    save(grafted(), tmp_path / "graft", base=base)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    english, greek = (
        tokenizer(text, return_tensors="pt").input_ids
        for text in ("the house stands by the river", "το σπίτι είναι δίπλα στο ποτάμι")
    )
    model = load(tmp_path / "graft", guard="auto")
    logits(model, english)
    copied = copy.deepcopy(model)
    assert torch.equal(logits(copied, greek), logits(model, greek))
    assert not torch.allclose(logits(copied, greek), logits(tiny_model(), greek), atol=1e-3)
    assert torch.equal(logits(copied, english), logits(model, english))


def test_a_copy_of_two_expansions_and_new_tokens_guards_each_of_them() -> None:
    def make() -> Any:
        model = graft_model(
            grafted(),
            MoELPR(new_experts=1),
            languages=Languages(original=("en", "el"), new=("ka",)),
            tokenizer=Extension.planned(VOCAB_SIZE, 4),
            seed=1,
        )
        return moved(model, 7)

    plain, first = make(), grafted()
    watched = make()
    info = graft_info(watched)
    assert info.earlier is not None
    info.earlier.guard.watch_prompts(watched, lambda t: [int(x) < 100 for x in t], Decoder())
    info.guard.watch_prompts(watched, lambda t: [int(x) < 250 for x in t], Decoder())
    logits(watched, ENGLISH)
    copied = copy.deepcopy(watched)
    georgian = torch.tensor([[300, 3, 5, 9, 3]])
    assert torch.equal(logits(copied, georgian), logits(plain, georgian))
    assert torch.equal(logits(copied, GREEK)[..., :VOCAB_SIZE], logits(first, GREEK))
    assert torch.equal(logits(copied, ENGLISH)[..., :VOCAB_SIZE], logits(tiny_model(), ENGLISH))
    detach_expansion(copied)
    assert graft_info(copied).context is not info.earlier.context
    assert torch.equal(logits(copied, GREEK), logits(first, GREEK))
    assert torch.equal(logits(watched, georgian), logits(plain, georgian))


@pytest.mark.parametrize("family", ["llama", "apertus", "bloom"])  # an activation with weights
@pytest.mark.parametrize("method", list(METHODS))
def test_a_copy_shares_nothing_that_can_change(method: str, family: str, tmp_path: Path) -> None:
    original = grafted(method, family=family)
    original(input_ids=GREEK).logits.sum().backward()
    expected = logits(original, GREEK)
    copied = copy.deepcopy(original)
    info = graft_info(copied)
    for module in copied.modules():
        for name in ("context", "_context"):
            assert getattr(module, name, info.context) is info.context
    assert info.context is not graft_info(original).context
    with graft_info(original).recorder.recording() as mine, info.recorder.recording() as its:
        assert torch.equal(logits(copied, GREEK), expected)
    assert not mine
    assert set(its) == {ffn.layer for ffn in expanded_ffns(copied)}
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    assert torch.equal(logits(original, GREEK), expected)
    assert not logits(copied, GREEK).any()  # nothing of it is read from the original
    copied.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    names = dict(copied.named_parameters())
    assert names.keys() <= saved.keys()
    assert not any(saved[name].any() for name in names)
