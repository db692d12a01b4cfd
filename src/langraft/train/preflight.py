"""Preflight: settings that cannot work together are refused before anything is spent."""

from __future__ import annotations

from typing import Any

import torch

from langraft.core.errors import ModelError, RecipeError, TrainingError
from langraft.core.settings.training import Training
from langraft.families.positions import num_learned_positions
from langraft.graft.moe.transformers_experts import check_experts
from langraft.train.compute.quantize import bitsandbytes
from langraft.train.tracking.tracking import check_trackers


def check_settings(training: Training, num_processes: int, device_type: str) -> None:
    """Refuse settings that this number of processes, on this kind of device, cannot use.

    Raises:
        ModelError: when no expert implementation has the name that is given.
        RecipeError: when 8- or 4-bit weights would have to be sharded, or a paged optimizer runs
            without a GPU.
    """
    check_experts(training.experts)
    for setting in _quantized_settings(training):
        if num_processes > 1:
            raise RecipeError(
                f"{setting} works in one process, and there are {num_processes}: the library's "
                "codes cannot be sharded. Leave it out (each process holds a share of base and "
                "moments as it is), or start one process."
            )
    if training.optimizer == "paged_adamw_8bit" and device_type == "cpu":
        raise RecipeError(
            "training.optimizer: paged_adamw_8bit moves moments from a GPU's memory to the host's; "
            "this machine trains on its CPU. Set adamw_8bit."
        )


def check_positions(model: Any, training: Training) -> None:
    """Refuse rows that are longer than the positions a model has learned.

    Args:
        model: May be without weights.
        training: With its sequence length.

    Raises:
        RecipeError: when there are fewer positions than tokens in a row.
    """
    num_positions = num_learned_positions(model)
    if num_positions is not None and training.sequence_length > num_positions:
        raise RecipeError(
            f"training.sequence_length is {training.sequence_length}; the base has learned "
            f"{num_positions} positions. Set at most {num_positions}."
        )


def remark_on_context(model: Any, training: Training) -> str:
    """Return a remark on rows beyond the context that a base computes positions for; else empty.

    Args:
        model: May be without weights.
        training: With its sequence length.
    """
    context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if not isinstance(context, int) or training.sequence_length <= context:
        return ""
    return (
        f"training.sequence_length is {training.sequence_length:,}; the base was made for "
        f"{context:,} positions (max_position_embeddings), which servers take as its limit, and "
        f"knows no more unless these stages teach it. Set at most {context:,}."
    )


def check_token_ids(num_ids: int, num_rows: int, tokenizer: str) -> None:
    """Refuse a tokenizer that knows more ids than the embedding has rows.

    Args:
        num_ids: The largest id and one.
        num_rows: Of the embedding.
        tokenizer: Where it is from, for the message.

    Raises:
        ModelError: when text could hold a token that has no row.
    """
    if num_ids > num_rows:
        raise ModelError(
            f"{tokenizer} has token ids up to {num_ids - 1}; the embedding of the base has "
            f"{num_rows} rows, so text with such a token cannot be trained on. Resize the "
            "embedding (model.resize_token_embeddings), or take these tokens out."
        )


def check_batch(training: Training, num_processes: int) -> None:
    """Refuse a batch that so many processes cannot share.

    Raises:
        TrainingError: when it is no multiple of all their micro-batches.
    """
    if training.batch_rows % (training.micro_rows * num_processes):
        raise TrainingError(
            f"training.batch_rows {training.batch_rows} is not a multiple of micro_rows "
            f"{training.micro_rows} x {num_processes} processes. Change one of them."
        )


def check_libraries(training: Training) -> None:
    """Refuse settings whose library is not installed.

    Raises:
        RecipeError: when there is no tracker of a name.
        MissingExtraError: when bitsandbytes or a tracker's library is needed and not installed.
    """
    for setting in _quantized_settings(training):
        bitsandbytes(setting)
    check_trackers(training.track)


def remark_on_precision(training: Training, device_type: str) -> str:
    """Return a remark on a precision that the device has no products in; empty otherwise."""
    if training.dtype == "float32" or _multiplies_bfloat16(device_type):
        return ""
    if device_type == "cpu":
        return (
            "This processor multiplies bfloat16 without instructions for it, many times slower "
            "than float32. Set training.dtype: float32."
        )
    return (
        "This accelerator has no matrix products in bfloat16 and goes by way of float32, no faster "
        "than float32 itself. Set training.dtype: float32."
    )


def _multiplies_bfloat16(device_type: str) -> bool:
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _quantized_settings(training: Training) -> list[str]:
    """Return the settings that hold weights or moments in 8 or 4 bits."""
    settings: list[str] = []
    if training.optimizer != "adamw":
        settings.append(f"training.optimizer: {training.optimizer}")
    if training.quantize_frozen is not None:
        settings.append(f"training.quantize_frozen: {training.quantize_frozen}")
    return settings
