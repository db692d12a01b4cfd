"""A graft under code that knows nothing of it: transformers' saving, its Trainer, fused losses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from langraft.core.errors import ModelError
from langraft.graft.methods import METHODS
from langraft.graft.methods.moe_lpr import MoELPR
from langraft.graft.surgery import detach_expansion, graft_info, graft_model
from langraft.tokenizers.extension import Extension
from tiny import VOCAB_SIZE, tiny_model
from trainer_rows import Rows

RARE = [3, 5, 300]
EXTENSION = Extension.planned(VOCAB_SIZE, 4)
METHOD = MoELPR(new_experts=2, token_rows="rare")
IDS = torch.tensor([[1, 3, 5, 3], [7, 300, 2, 9]])


def grafted(base: Any = None, *, is_tied: bool = True, **settings: Any) -> Any:
    base = base or tiny_model(tie_word_embeddings=is_tied)
    model = graft_model(base, METHOD, rare_tokens=RARE, **settings)
    return moved(model)


def extended(*, is_tied: bool = True) -> Any:
    return grafted(is_tied=is_tied, tokenizer=EXTENSION)


def expanded_twice(*, is_tied: bool = True) -> Any:
    return grafted(extended(is_tied=is_tied))


@torch.no_grad()
def moved(model: Any) -> Any:
    """Move all that langraft added, so that it shows."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if any(part in name for part in (".deltas.", ".new_rows.", ".experts.", ".adapter_up.")):
            parameter.add_(torch.randn(parameter.shape, generator=generator) / 2)
    return model.eval()


@torch.no_grad()
def logits(model: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    return model(input_ids=ids, use_cache=False).logits


MODELS = {"rows": grafted, "new tokens": extended, "twice": expanded_twice}


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_what_save_pretrained_writes_is_read_back_with_the_same_logits(
    make: Callable[..., Any], is_tied: bool, tmp_path: Path
) -> None:
    model = make(is_tied=is_tied)
    expected = logits(model)
    model.save_pretrained(tmp_path)
    again = make(is_tied=is_tied)
    with torch.no_grad():
        for parameter in again.parameters():
            parameter.zero_()
    result = again.load_state_dict(load_file(tmp_path / "model.safetensors"), strict=False)
    assert not result.unexpected_keys
    assert torch.equal(logits(again), expected)
    assert set(result.missing_keys) == (set(model._tied_weights_keys) if is_tied else set())


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_tying_again_changes_nothing(make: Callable[..., Any], is_tied: bool) -> None:
    model = make(is_tied=is_tied)
    expected = logits(model)
    names = {name for name, _ in model.named_parameters()}
    model.tie_weights()
    assert {name for name, _ in model.named_parameters()} == names
    assert torch.equal(logits(model), expected)


def test_names_of_tied_parameters_follow_an_expansion_that_leaves() -> None:
    model = expanded_twice()
    inner = {**grafted()._tied_weights_keys}
    detach_expansion(model)
    assert model._tied_weights_keys == extended()._tied_weights_keys != inner
    model.tie_weights()


def test_a_saved_graft_is_refused_where_it_would_be_another_model(tmp_path: Path) -> None:
    grafted().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"langraft graft .*langraft\.export_model"):
        AutoModelForCausalLM.from_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"Push what langraft\.export_model writes"):
        grafted().save_pretrained(tmp_path, push_to_hub=True)


@pytest.mark.parametrize("name", ["full", "llama_pro"])
def test_a_graft_that_is_a_plain_model_is_saved_as_one(name: str, tmp_path: Path) -> None:
    settings = METHODS[name].model_validate({"new_blocks": 1} if name == "llama_pro" else {})
    model = graft_model(tiny_model(tie_word_embeddings=True), settings)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(AutoModelForCausalLM.from_pretrained(tmp_path)), logits(model))


def test_the_trainer_of_transformers_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    def train(steps: int, resume: bool = False) -> Any:
        model = extended()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(".deltas." in name or ".new_rows." in name)
        arguments = TrainingArguments(
            output_dir=str(tmp_path / "resumed" if resume or steps == 1 else tmp_path / "whole"),
            max_steps=steps,
            save_steps=1,
            per_device_train_batch_size=2,
            learning_rate=1e-2,
            lr_scheduler_type="constant",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=Rows())
        trainer.train(resume_from_checkpoint=resume or None)
        return model.eval()

    whole = train(2)
    train(1)
    assert torch.equal(logits(train(2, resume=True)), logits(whole))
    assert not torch.equal(logits(whole), logits(extended()))


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_the_matrix_of_a_head_gives_its_logits_and_gradients(
    make: Callable[..., Any], is_tied: bool
) -> None:
    model = make(is_tied=is_tied)
    hidden = model.model(input_ids=IDS).last_hidden_state.detach()
    trained = [p for n, p in model.lm_head.named_parameters() if "deltas" in n or "new_rows" in n]
    model.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    by_head = model.lm_head(hidden)
    by_matrix = functional.linear(hidden, model.lm_head.weight, model.lm_head.bias)
    torch.testing.assert_close(by_matrix, by_head, atol=1e-5, rtol=1e-5)
    scale = torch.randn(by_head.shape, generator=torch.Generator().manual_seed(2))
    wanted = torch.autograd.grad((by_head * scale).sum(), trained)
    found = torch.autograd.grad((by_matrix * scale).sum(), trained)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@torch.no_grad()
def test_the_matrix_of_an_embedding_holds_what_it_looks_up(make: Callable[..., Any]) -> None:
    embedding = make().get_input_embeddings()
    ids = torch.arange(len(embedding.weight))[None]
    assert torch.equal(functional.embedding(ids, embedding.weight), embedding(ids))


def test_a_head_with_a_bias_gives_its_logits_with_new_tokens() -> None:
    model = grafted(tiny_model("phi", num_key_value_heads=2), tokenizer=EXTENSION)
    hidden = torch.randn(1, 3, 16, generator=torch.Generator().manual_seed(0))
    head = model.lm_head
    by_matrix = functional.linear(hidden, head.weight, head.bias)
    torch.testing.assert_close(by_matrix, head(hidden), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_what_is_no_matrix_answers_questions_and_refuses_products() -> None:
    method = MoELPR(new_experts=2, output_rank=2, attention_rank=2)
    model = moved(graft_model(tiny_model(), method, tokenizer=EXTENSION))
    for module in (model.lm_head, model.model.layers[1].self_attn.q_proj):
        weight = module.weight
        assert (weight.dtype, weight.device.type) == (torch.float32, "cpu")
        assert weight.shape[1] == 16
        with pytest.raises(ModelError, match=r"Each token meets its own.*Call the module itself"):
            functional.linear(torch.ones(1, 16), weight)
        with pytest.raises(ModelError, match="no single `weight`"):
            torch.matmul(torch.ones(1, 16), weight.T)
    assert len(model.lm_head.weight.shape) == 2
    assert model.lm_head.weight.shape[0] == VOCAB_SIZE + 4


@torch.no_grad()
def test_guarded_sequences_have_no_single_matrix() -> None:
    model = grafted()
    with graft_info(model).guard.guarding([True, False]):
        for module in (model.lm_head, model.get_input_embeddings()):
            with pytest.raises(ModelError, match="Guarded sequences meet the matrix of the base"):
                torch.add(module.weight, 1)
    assert torch.equal(model.lm_head.weight + 0, model.lm_head.corrected())


def test_a_model_without_weights_says_the_shape_of_its_matrices() -> None:
    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(tiny_model(tie_word_embeddings=True).config)
    model = graft_model(base, METHOD, rare_tokens=RARE, tokenizer=EXTENSION)
    assert len(model.lm_head.weight) == model.get_input_embeddings().weight.shape[0]
    assert len(model.lm_head.weight) == VOCAB_SIZE + 4
    with pytest.raises(ModelError, match="built without weights"):
        torch.add(model.lm_head.weight, 1)
