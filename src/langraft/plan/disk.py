"""How much a method's run writes to disk, as far as that is known before it starts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from langraft.core.settings.stage import Stage
from langraft.core.settings.training import Training
from langraft.graft.freeze import never_trained, parameter_groups, set_trainable
from langraft.graft.surgery import graft_info

_GIB = 2**30
_CHECKPOINTS_AT_ONCE = 2  # the newest is complete before the one before it goes


def bytes_written(
    model: Any, stages: Sequence[Stage], training: Training, *, export_bytes_per_weight: int
) -> int:
    """Return about how many bytes of weights the stages, the graft and the export take.

    Args:
        model: The grafted model, which may be without weights; its ``requires_grad`` flags are
            changed.
        stages: Complete stages.
        training: Optimizer.
        export_bytes_per_weight: Of the exported model; 0 without an export.
    """
    moments = 8 if training.optimizer == "adamw" else 2
    weights, largest, trained = 0, 0, set[str]()
    for stage in stages:
        assert stage.trains is not None
        rows = graft_info(model).method.token_rows
        found = set_trainable(model, stage.trains, token_rows=rows)
        num_trained = sum(parameter.numel() for parameter in found.values())
        trained |= found.keys()
        weights += 4 * num_trained
        largest = max(largest, (4 + moments) * num_trained)
    groups = {
        group: sum(parameter.numel() for parameter in parameters.values())
        for group, parameters in parameter_groups(model).items()
    }
    is_base_trained = any(stage.trains == "everything" for stage in stages)
    left = never_trained(model)
    kept = sum(p.numel() for p in model.parameters() if id(p) in left)  # read from the base
    graft = sum(groups.values()) - (kept if is_base_trained else groups.get("base", 0))
    export = export_bytes_per_weight * sum(groups.values())
    return weights + _CHECKPOINTS_AT_ONCE * largest + 4 * graft + export


def why_no_room(num_bytes: int, folder: Path) -> str:
    """Return why a disk cannot hold what a run will write, or an empty string.

    Args:
        num_bytes: What is written in all.
        folder: Of the run; what it holds already counts as written.
    """
    home = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    held = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    free = shutil.disk_usage(home).free
    if num_bytes <= free + held:
        return ""
    return (
        f"{folder} will hold about {num_bytes / _GIB:.1f} GiB of weights (checkpoints, graft, "
        f"export), and its disk has {free / _GIB:.1f} GiB free"
    )
