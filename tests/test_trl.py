"""A graft under TRL's SFTTrainer, which multiplies by the output matrix itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

import langraft
from langraft.core.errors import ModelError
from langraft.graft.freeze import fingerprint_frozen, set_trainable
from langraft.hf import GraftCallback
from tiny import VOCAB_SIZE, tiny_model

datasets = pytest.importorskip("datasets")
trl = pytest.importorskip("trl")
pytestmark = pytest.mark.filterwarnings(
    "ignore:.gradient_checkpointing. is deprecated:FutureWarning"  # TRL sets it
)

TEXTS = ["the cat sat on the mat", "a dog and a cat", "one two three", "the mat is red"]


def grafted(trains: tuple[str, ...], **settings: Any) -> Any:
    base = tiny_model(tie_word_embeddings=True)
    method = langraft.MoELPR(new_experts=2, **settings)
    rare = range(VOCAB_SIZE) if "token_rows" in settings else ()
    model = langraft.graft_model(base, method, rare_tokens=rare)
    set_trainable(model, trains, token_rows=method.token_rows)
    return model


def trainer_of(model: Any, base: Path, out: Path) -> Any:
    settings = trl.SFTConfig(
        output_dir=str(out),
        max_steps=2,
        save_steps=2,
        logging_steps=1,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,  # all texts in a step
        learning_rate=1e-2,
        report_to=[],
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
    )
    return trl.SFTTrainer(
        model=model,
        args=settings,
        train_dataset=datasets.Dataset.from_dict({"text": TEXTS}),
        processing_class=AutoTokenizer.from_pretrained(base),
        callbacks=[GraftCallback(base)],
    )


@torch.no_grad()
def loss_of(model: Any, tokenizer: Any) -> float:
    """Mean over tokens of all texts, each with its end, by the model's own output matrix."""
    rows = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in TEXTS]
    sums = [
        float(model(input_ids=torch.tensor([row]), labels=torch.tensor([row])).loss)
        * (len(row) - 1)
        for row in rows
    ]
    return sum(sums) / sum(len(row) - 1 for row in rows)


def test_sft_trains_experts_and_token_rows_and_saves_what_langraft_loads(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    base = save_base(tie_word_embeddings=True)
    model = grafted(("experts", "routers", "token_rows"), token_rows="rare")
    frozen = fingerprint_frozen(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    first = loss_of(model, AutoTokenizer.from_pretrained(base))
    trainer = trainer_of(model, base, tmp_path / "out")
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(first, rel=1e-4)
    assert fingerprint_frozen(model) == frozen
    assert any("deltas" in name for name in before)
    assert not [n for n, p in model.named_parameters() if n in before and torch.equal(p, before[n])]
    loaded = langraft.load(tmp_path / "out/checkpoint-2/graft").state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())


def test_an_output_adapter_which_its_loss_would_leave_out_is_refused(
    save_base: Callable[..., Path], tmp_path: Path
) -> None:
    model = grafted(("experts", "adapters"), output_rank=4)
    trainer = trainer_of(model, save_base(tie_word_embeddings=True), tmp_path / "out")
    with pytest.raises(ModelError, match=r"no single `weight` to compute with"):
        trainer.train()
