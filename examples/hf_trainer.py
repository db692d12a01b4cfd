"""A grafted model and its side losses under the Hugging Face ``Trainer``.

The model is an ordinary transformers model, so ``Trainer`` trains it as it is. What is added is a
``compute_loss`` that records the routing of the forward pass and adds the method's side losses, and
a callback that saves the graft in its small form in each checkpoint.
Needs ``accelerate``: pip install accelerate
"""

from __future__ import annotations

import copy
import importlib.util
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

import langraft
from langraft.graft.moe.losses import TokenRoles, mean_over_layers
from langraft.hf import GraftCallback
from tokenizers import Tokenizer, models

VOCABULARY = 128


class GraftTrainer(Trainer):
    """``Trainer`` with the side losses of a grafted model, by name and weight."""

    def __init__(self, *args: Any, side_losses: Mapping[str, float], **kwargs: Any) -> None:
        """Take what ``Trainer`` takes, and for example ``{"balance": 0.01, "prior": 0.1}``."""
        super().__init__(*args, **kwargs)
        self.side_losses = side_losses

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """Add the weighted side losses to the next-token loss."""
        is_original = inputs.pop("is_original")  # (rows,): one language a row
        graft = model.langraft  # under DistributedDataParallel: model.module.langraft
        with graft.recorder.recording() as routing_by_layer:
            loss, outputs = super().compute_loss(model, inputs, return_outputs=True, **kwargs)
            is_token = inputs["attention_mask"].bool()
            roles = TokenRoles(
                is_token_T=is_token.flatten(),
                is_original_T=(is_original.unsqueeze(-1) & is_token).flatten(),
            )
            side_losses = graft.method.side_losses()
            # Means over tokens: a mean over the micro-batches of a step too, which Trainer takes
            # itself unless the loss is divided by the step's tokens already.
            is_scaled = self.model_accepts_loss_kwargs and "num_items_in_batch" in kwargs
            is_scaled = is_scaled and kwargs["num_items_in_batch"] is not None
            num_micro = self.current_gradient_accumulation_steps if is_scaled else 1
            for name, weight in self.side_losses.items():
                side_loss = mean_over_layers(side_losses[name], routing_by_layer, roles)
                loss = loss + weight / num_micro * side_loss
        return (loss, outputs) if return_outputs else loss


def make_rows(num_rows: int, length: int) -> list[dict[str, Any]]:
    """Return rows of two toy languages: even tokens are the original one, odd tokens the new."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number in range(num_rows):
        half = torch.randint(VOCABULARY // 2, (length,), generator=generator)
        input_ids = half * 2 + number % 2
        rows.append(
            {
                "input_ids": input_ids,
                "labels": input_ids,
                "attention_mask": torch.ones(length, dtype=torch.long),
                "is_original": torch.tensor(number % 2 == 0),
            }
        )
    return rows


@torch.no_grad()
def share_of_expert_0(model: Any, rows: list[dict[str, Any]]) -> float:
    """Return the mean routing probability of the frozen expert."""
    input_ids = torch.stack([row["input_ids"] for row in rows])
    with model.langraft.recorder.recording() as routing_by_layer:
        model(input_ids=input_ids)
        shares = [r.log_original_T().exp().mean() for r in routing_by_layer.values()]
    return float(torch.stack(shares).mean())


def main() -> None:
    """Graft a tiny model and train it with replay, balance and prior."""
    if importlib.util.find_spec("accelerate") is None:
        print("skipped: the Trainer needs accelerate. Run: pip install accelerate")
        sys.exit(0)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    base = AutoModelForCausalLM.from_config(config)
    model = langraft.graft_model(copy.deepcopy(base), langraft.MoELPR())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".experts." in name or ".router." in name)

    rows = make_rows(num_rows=32, length=32)
    original, new = rows[::2], rows[1::2]
    before = share_of_expert_0(model, original), share_of_expert_0(model, new)
    with tempfile.TemporaryDirectory() as folder:
        base.save_pretrained(f"{folder}/base")
        words = Tokenizer(models.WordLevel({f"w{number}": number for number in range(VOCABULARY)}))
        PreTrainedTokenizerFast(tokenizer_object=words).save_pretrained(f"{folder}/base")
        trainer = GraftTrainer(
            model=model,
            args=TrainingArguments(
                output_dir=f"{folder}/out",
                per_device_train_batch_size=8,
                max_steps=40,
                learning_rate=1e-2,
                save_steps=20,
                save_total_limit=1,
                report_to="none",
                logging_strategy="no",
                disable_tqdm=True,
                remove_unused_columns=False,  # keep is_original
                use_cpu=True,
            ),
            train_dataset=rows,
            side_losses={"balance": 0.01, "prior": 0.5},
            callbacks=[GraftCallback(f"{folder}/base")],
        )
        trainer.train()
        loaded = langraft.load(f"{folder}/out/checkpoint-40/graft")
    after = share_of_expert_0(loaded, original), share_of_expert_0(loaded, new)
    print(f"share of the frozen expert, original language: {before[0]:.2f} -> {after[0]:.2f}")
    print(f"share of the frozen expert, new language:      {before[1]:.2f} -> {after[1]:.2f}")


if __name__ == "__main__":
    main()
