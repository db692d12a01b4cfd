"""What a contender does in a round that trains with the Hugging Face Trainer, as most people do."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import torch
from steps import Steps
from torch.utils.data import IterableDataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from langraft.core.settings.training import Training
from langraft.curriculum.loader import PackedLoader

PRECISION = {"float32": {}, "bfloat16": {"bf16": True}}  # autocast over float32 weights


class _Rows(IterableDataset[dict[str, torch.Tensor]]):
    """Packed rows, one after the other, without end; positions begin anew with each document."""

    def __init__(self, loader: PackedLoader) -> None:
        self._loader, self._numbers = loader, itertools.count()

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for number in self._numbers:
            batch = self._loader.rows(range(number, number + 1))
            yield {
                "input_ids": batch.input_ids[0],
                "position_ids": batch.position_ids[0],
                "labels": batch.input_ids[0],  # the model shifts them itself
            }


class _Clock(TrainerCallback):
    """Seconds of each step, accumulation, clipping and optimizer included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        self._began = time.perf_counter()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self._began)


def trainer_steps(model: Any, settings: Training, loader: PackedLoader, device: str) -> Steps:
    """Return what trains all that is not frozen, with the settings that langraft gets.

    Args:
        model: Of transformers, or of PEFT.
        settings: Rows, micro-batches, precision; the optimizer is fused AdamW.
        loader: Of packed rows.
        device: ``cpu`` or ``cuda``.
    """
    rows = _Rows(loader)

    def run(num_steps: int) -> list[float]:
        clock = _Clock()
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                max_steps=num_steps,
                per_device_train_batch_size=settings.micro_rows,
                gradient_accumulation_steps=settings.batch_rows // settings.micro_rows,
                learning_rate=1e-4,
                adam_beta2=settings.betas[1],
                lr_scheduler_type="constant",
                optim="adamw_torch_fused",
                use_cpu=device == "cpu",
                save_strategy="no",
                report_to=[],
                disable_tqdm=True,
                logging_strategy="no",
                **PRECISION[settings.dtype],
            )
            Trainer(model, arguments, train_dataset=rows, callbacks=[clock]).train()
        return clock.seconds

    return run
