"""Where a model that is talked to computes, and in which precision."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import yaml

from langraft.core.base_files import read_model_config, stored_dtype
from langraft.core.errors import ModelError

DtypeName = Literal["float32", "bfloat16", "float16"]
_DTYPES = {name: getattr(torch, name) for name in ("float32", "bfloat16", "float16")}


def choose_device(name: str | None) -> torch.device:
    """Return a device by its name; by default an accelerator where there is one, else the CPU.

    Raises:
        ModelError: when there is no such device here.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    if name is None:
        return found or torch.device("cpu")
    count = torch.accelerator.device_count() if found else 0
    here = ["cpu", *([found.type] if found else []), *(f"{found}:{n}" for n in range(count))]
    if name not in here:
        raise ModelError(
            f"--device {name}: there is no such device here. Give {' or '.join(here)}, or leave "
            "it out."
        )
    return torch.device(name)


def choose_dtype(name: DtypeName | None, run_folder: Path, base: Path) -> torch.dtype:
    """Return a precision by its name; by default that of the run's training, or of the file.

    Args:
        name: What the user asks for, if anything.
        run_folder: Perhaps a run folder, whose recipe says how it was trained.
        base: Folder of the base, whose config says how its weights are stored.
    """
    if name is not None:
        return _DTYPES[name]
    return _DTYPES.get(_trained(run_folder) or stored_dtype(read_model_config(base)), torch.float32)


def _trained(run_folder: Path) -> str | None:
    """Return ``training.dtype`` of a run's recipe; None for other folders."""
    path = run_folder / "recipe.yaml"
    if not path.is_file():
        return None
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None  # no recipe of ours; the weights speak for themselves
    training = recipe.get("training") if isinstance(recipe, dict) else None
    return str(training.get("dtype", "float32")) if isinstance(training, dict) else "float32"
