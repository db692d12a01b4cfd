"""A graft under transformers' Trainer, with the callback that saves it."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM, Trainer, TrainingArguments

import langraft
from langraft.core.errors import ModelError
from langraft.graft.freeze import fingerprint_frozen
from langraft.hf import GraftCallback
from tiny import tiny_model
from trainer_rows import Rows

IDS = torch.tensor([[1, 3, 5, 3], [7, 300, 2, 9]])


def grafted(is_tied: bool = True) -> Any:
    base = tiny_model(tie_word_embeddings=is_tied)
    model = langraft.graft_model(base, langraft.MoELPR(new_experts=2))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".experts." in name or ".router." in name)
    return model


def trainer_of(model: Any, base: Path, out: Path, steps: int, **settings: Any) -> Trainer:
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=steps,
        save_steps=1,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        weight_decay=0.5,
        lr_scheduler_type="constant",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **settings,
    )
    return Trainer(
        model=model, args=arguments, train_dataset=Rows(), callbacks=[GraftCallback(base)]
    )


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    return model.eval()(input_ids=IDS, use_cache=False).logits


@pytest.mark.parametrize("is_tied", [True, False])
def test_resumed_training_equals_uninterrupted_and_each_checkpoint_loads(
    is_tied: bool,
    save_base: Callable[..., Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    base = save_base(tie_word_embeddings=is_tied)
    whole = grafted(is_tied)
    frozen = fingerprint_frozen(whole)
    trainer_of(whole, base, tmp_path / "whole", 3).train()
    trainer_of(grafted(is_tied), base, tmp_path / "out", 2).train()
    resumed = grafted(is_tied)
    trainer_of(resumed, base, tmp_path / "out", 3).train(resume_from_checkpoint=True)
    assert not [r for r in caplog.records if "keys in the checkpoint" in r.getMessage()]
    assert torch.equal(logits(resumed), logits(whole))
    assert not torch.equal(logits(whole), logits(grafted(is_tied)))
    assert fingerprint_frozen(whole) == fingerprint_frozen(resumed) == frozen
    loaded = langraft.load(tmp_path / "out/checkpoint-3/graft")
    assert torch.equal(logits(loaded), logits(whole))
    for model_class in (AutoModelForCausalLM, LlamaForCausalLM):
        with pytest.raises(Exception, match=r"langraft\.save or langraft\.export_model"):
            model_class.from_pretrained(tmp_path / "out/checkpoint-3")


def test_old_checkpoints_go_and_a_saved_model_may_be_saved_again(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    model = grafted()
    trainer = trainer_of(
        model, save_base(tie_word_embeddings=True), tmp_path / "out", 3, save_total_limit=1
    )
    trainer.train()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["checkpoint-3"]
    for _ in range(2):
        trainer.save_model(str(tmp_path / "last"))
    assert torch.equal(logits(langraft.load(tmp_path / "last/graft")), logits(model))


@pytest.mark.parametrize(
    "settings",
    [{"bf16": True}, {"activation_checkpointing": True}, {"gradient_accumulation_steps": 2}],
    ids=lambda settings: next(iter(settings)),
)
def test_frozen_tensors_stay_as_they_are_and_experts_train(
    settings: dict[str, Any], save_base: Callable[..., Path], tmp_path: Path
) -> None:
    model, base = grafted(), save_base(tie_word_embeddings=True)
    frozen = fingerprint_frozen(model)
    trainer_of(model, base, tmp_path / "out", 2, **settings).train()
    assert fingerprint_frozen(model) == frozen
    assert not torch.equal(logits(model), logits(grafted()))
    # Their tensors, since accelerate leaves autocast in the model's forward pass.
    loaded = langraft.load(tmp_path / "out/checkpoint-2/graft").state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())


def gradients(accumulation: int, **given: Any) -> dict[str, torch.Tensor]:
    """Gradients of a step on eight rows of the example, cut into micro-batches."""
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "hf_trainer.py"))
    torch.manual_seed(0)
    model = grafted()
    settings = TrainingArguments(
        output_dir=str(given["out"]),
        max_steps=1,
        per_device_train_batch_size=8 // accumulation,
        gradient_accumulation_steps=accumulation,
        optim="sgd",
        learning_rate=1.0,
        max_grad_norm=0.0,
        lr_scheduler_type="constant",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    example["GraftTrainer"](
        model=model,
        args=settings,
        train_dataset=example["make_rows"](num_rows=8, length=16),
        side_losses={"balance": 0.5, "prior": 5.0},
    ).train()
    return {n: before[n] - p.detach() for n, p in model.named_parameters() if p.requires_grad}


def test_side_losses_of_the_example_weigh_the_same_under_gradient_accumulation(
    tmp_path: Path,
) -> None:
    # The balance loss is a product of means over the tokens of a forward pass, so it alone depends
    # on the cut; the prior, ten times heavier here, does not.
    whole, cut = (gradients(accumulation, out=tmp_path) for accumulation in (1, 2))
    for name, gradient in whole.items():
        if "router" in name:
            torch.testing.assert_close(
                cut[name], gradient, rtol=0.1, atol=0.1 * gradient.abs().max()
            )


def test_what_a_graft_would_not_hold_is_refused_before_training(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(tie_word_embeddings=True)
    with pytest.raises(ModelError, match=r"LlamaForCausalLM that is not grafted"):
        trainer_of(tiny_model(), base, tmp_path / "out", 1)
    model = grafted()
    trainer = trainer_of(model, base, tmp_path / "out", 1)
    model.model.norm.weight.requires_grad_(True)
    with pytest.raises(ModelError, match=r"1 tensors of the base .* model\.norm\.weight"):
        trainer.train()
    with pytest.raises(ModelError):
        GraftCallback(tmp_path / "none")
