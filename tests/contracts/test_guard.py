"""A guarded sequence is the base's own, bit for bit, on every decoder family."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from langraft.core.errors import ModelError, ShapeError
from langraft.core.settings.languages import Languages
from langraft.graft.description import base_of
from langraft.graft.freeze import parameter_groups
from langraft.graft.methods.llama_pro import LlamaPro
from langraft.graft.methods.moe_ct import MoECT
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.store import load, save
from langraft.graft.surgery import graft_info, graft_model
from tiny import DECODERS, VOCAB_SIZE, tiny_model

METHODS = {
    "moe_lpr": MoELPR(new_experts=3, token_rows="rare"),
    "moe_ct": MoECT(new_experts=3, token_rows="rare", attention_rank=2, output_rank=3),
}
LANGUAGES = Languages(original=("en",), new=("el", "hu", "tr"))
SEQUENCES, LENGTH, NEW_TOKENS = 20, 12, 3


def moved(model: Any) -> Any:
    """Move everything that a stage could train, so that base and graft differ."""
    for number, (name, parameter) in enumerate(model.named_parameters()):
        if any(
            part in name for part in (".experts.", ".router.", ".gate.", ".deltas.", ".adapter_up.")
        ):
            noise = torch.Generator().manual_seed(number)
            with torch.no_grad():
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=noise))
    return model


def grafted(method: str, family: str = "llama") -> tuple[Any, Any]:
    base = tiny_model(family)
    rare = range(0, VOCAB_SIZE, 3)
    model = graft_model(copy.deepcopy(base), METHODS[method], rare_tokens=rare, languages=LANGUAGES)
    return base, moved(model).eval()


@torch.no_grad()
def answer(model: Any, prompts: torch.Tensor, following: torch.Tensor) -> list[torch.Tensor]:
    """Return logits of a pass without cache, of a prefill, and of each cached step after it."""
    found = [model(input_ids=prompts, use_cache=False).logits]
    out = model(input_ids=prompts, use_cache=True)
    found.append(out.logits)
    for token in following.T:
        out = model(input_ids=token[:, None], past_key_values=out.past_key_values, use_cache=True)
        found.append(out.logits)
    return found


@pytest.mark.parametrize("family", list(DECODERS))
@pytest.mark.parametrize("method", list(METHODS))
def test_guarded_prompts_equal_the_base_bit_for_bit(method: str, family: str) -> None:
    base, model = grafted(method, family)
    num_guarded = 0
    generator = torch.Generator().manual_seed(0)
    guards = [torch.rand(SEQUENCES, generator=generator) < share for share in (0.9,) * 5 + (1.0,)]
    for is_guarded in guards:  # over 100 guarded prompts, five batches of them mixed
        prompts = torch.randint(1, VOCAB_SIZE, (SEQUENCES, LENGTH), generator=generator)
        following = torch.randint(1, VOCAB_SIZE, (SEQUENCES, NEW_TOKENS), generator=generator)
        expected = answer(base, prompts, following)
        with graft_info(model).guard.guarding(is_guarded.tolist()):
            found = answer(model, prompts, following)
        for of_base, of_graft in zip(expected, found, strict=True):
            assert torch.equal(of_graft[is_guarded], of_base[is_guarded])
            open_rows = ~is_guarded
            if open_rows.any():
                assert not torch.allclose(of_graft[open_rows], of_base[open_rows], atol=1e-3)
        num_guarded += int(is_guarded.sum())
    assert num_guarded >= 100


def test_a_prompt_alone_equals_the_base_too() -> None:
    base, model = grafted("moe_lpr")
    prompt = torch.arange(1, 9)[None]
    with graft_info(model).guard.guarding([True]):
        assert torch.equal(model(input_ids=prompt).logits, base(input_ids=prompt).logits)
    assert not torch.equal(model(input_ids=prompt).logits, base(input_ids=prompt).logits)


def test_a_guard_of_another_batch_is_refused() -> None:
    _, model = grafted("moe_lpr")
    with (
        graft_info(model).guard.guarding([True, False]),
        pytest.raises(ShapeError, match="names 2 sequences; the batch has 3"),
    ):
        model(input_ids=torch.ones(3, 4, dtype=torch.long))


def test_what_has_no_base_left_cannot_be_guarded() -> None:
    model = graft_model(tiny_model(), MoELPR())
    graft_info(model).is_base_changed = True
    with pytest.raises(ModelError, match="moe_lpr has trained the base's own weights"):
        _ = graft_info(model).guard
    model = graft_model(tiny_model(), LlamaPro(new_blocks=1))
    with pytest.raises(ModelError, match="llama_pro changes every token's path"):
        _ = graft_info(model).guard


@pytest.fixture
def saved(save_base: Callable[..., Path], tmp_path: Path) -> tuple[Path, Any]:
    folder = save_base()
    _, model = grafted("moe_lpr")
    save(model, tmp_path / "graft", base=folder)
    return tmp_path / "graft", tiny_model()


PROMPTS = ["the house stands by the river", "το σπίτι είναι δίπλα στο ποτάμι", "12"]


def generate(model: Any, tokenizer: Any) -> torch.Tensor:
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "left"
    batch = tokenizer(PROMPTS, return_tensors="pt", padding=True)
    return model.generate(
        **batch,
        max_new_tokens=6,
        do_sample=False,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )


def test_prompts_in_original_languages_are_answered_by_the_base(
    saved: tuple[Path, Any], tokenizer_folder: Path
) -> None:
    from transformers import AutoTokenizer

    pytest.importorskip("lingua")
    folder, base = saved
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    expected, of_graft = (generate(m, tokenizer).logits for m in (base, load(folder)))
    for guard in ("auto", {"en"}):
        found = generate(load(folder, guard=guard), tokenizer).logits
        # Row 2 is no language at all, so the base answers.
        for step in range(6):
            assert torch.equal(found[step][[0, 2]], expected[step][[0, 2]])
        assert not torch.allclose(found[0][1], expected[0][1], atol=1e-3)
        torch.testing.assert_close(found[0][1], of_graft[0][1], atol=1e-5, rtol=1e-5)


def test_after_a_second_expansion_each_prompt_is_answered_by_the_graft_of_its_languages(
    saved: tuple[Path, Any], tokenizer_folder: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    pytest.importorskip("lingua")
    folder, base = saved
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    first = load(folder)
    later = Languages(original=("en", "el", "hu", "tr"), new=("ka",))
    both = graft_model(load(folder), MoELPR(new_experts=2), languages=later, seed=1)
    for parameter in parameter_groups(both)["experts"].values():
        with torch.no_grad():
            parameter.mul_(1.5)
    save(both, tmp_path / "both", base=folder)
    guarded = load(tmp_path / "both", guard="auto")
    for prompt, expected in ((PROMPTS[0], base), (PROMPTS[1], first), ("სახლი მდინარესთან", both)):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            found, wanted = (m.eval()(input_ids=ids).logits for m in (guarded, expected))
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
        if expected is base:
            assert torch.equal(found, wanted)
        else:
            assert not torch.allclose(found, base(input_ids=ids).logits, atol=1e-3)


def test_a_fasttext_file_identifies_as_well(
    saved: tuple[Path, Any],
    tokenizer_folder: Path,
    fasttext_identifier: Path,
) -> None:
    from transformers import AutoTokenizer

    folder, base = saved
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    guarded = load(folder, guard="auto", identifier=fasttext_identifier)
    assert torch.equal(
        generate(guarded, tokenizer).logits[0][0], generate(base, tokenizer).logits[0][0]
    )


def test_guards_that_cannot_be_are_refused(saved: tuple[Path, Any], tmp_path: Path) -> None:
    pytest.importorskip("lingua")
    folder, _ = saved
    with pytest.raises(ModelError, match="original languages of this graft are en"):
        load(folder, guard={"el"})
    model = load(folder, guard="auto")
    with pytest.raises(ModelError, match="embeddings were given"):
        model(inputs_embeds=torch.zeros(1, 4, 16))
    silent = graft_model(tiny_model(), MoELPR())
    save(silent, tmp_path / "silent", base=base_of(folder))
    with pytest.raises(ModelError, match="does not say which languages"):
        load(tmp_path / "silent", guard="auto")
