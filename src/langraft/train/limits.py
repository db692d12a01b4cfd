"""What settings of speed and memory cannot do together, said before anything is spent."""

from __future__ import annotations

import torch

from langraft.core.errors import RecipeError, TrainingError
from langraft.core.training import Training
from langraft.graft.interface import check_experts
from langraft.train.quantize import bitsandbytes


def refuse_impossible(training: Training, num_processes: int, device_type: str) -> None:
    """Refuse what so many processes on such a device cannot carry out.

    Raises:
        ModelError: when no expert implementation has the name that is given.
        RecipeError: when codes of 8 or 4 bits would have to be sharded, or pages to leave a GPU
            that is not there.
    """
    check_experts(training.experts)
    for setting in _coded(training):
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


def refuse_missing(training: Training) -> None:
    """Refuse what a library is missing for.

    Raises:
        MissingExtraError: when bitsandbytes is needed and not installed.
    """
    for setting in _coded(training):
        bitsandbytes(setting)


def find_slow(training: Training, device_type: str) -> str:
    """Return a remark on a precision that the processor has no products in; empty otherwise."""
    if training.dtype == "float32" or device_type != "cpu" or _multiplies_bfloat16():
        return ""
    return (
        "This processor multiplies bfloat16 without instructions for it, many times slower than "
        "float32. Set training.dtype: float32."
    )


def _multiplies_bfloat16() -> bool:
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _coded(training: Training) -> list[str]:
    """Return the settings that hold weights or moments in codes."""
    settings: list[str] = []
    if training.optimizer != "adamw":
        settings.append(f"training.optimizer: {training.optimizer}")
    if training.quantize_frozen is not None:
        settings.append(f"training.quantize_frozen: {training.quantize_frozen}")
    return settings
