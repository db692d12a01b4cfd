"""What the other processes say when one of them has ended, whatever ended it.

A collective that waits for a process that is gone fails in the words of its library. What helps is
where the last checkpoint is and that the same command goes on from it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator
from pathlib import Path

import torch.distributed as dist

from langraft.core.errors import TrainingError

_OF_GLOO = ("gloo", "Connection closed by peer", "Connection reset by peer", "Broken pipe")


@contextlib.contextmanager
def explain_lost_process(folder: Path) -> Generator[None]:
    """Turn what a collective raises when another process has ended into one clear message.

    Args:
        folder: Of the run, searched for the last checkpoint.

    Raises:
        TrainingError: in place of the library's error.
    """
    try:
        yield
    except RuntimeError as error:
        is_alone = os.environ.get("WORLD_SIZE", "1") == "1"
        if is_alone or not _is_of_lost_process(error):
            raise
        words = str(error).splitlines()[0]
        words = words.partition("] ")[2] or words  # gloo begins with a line of its source
        raise TrainingError(
            f"Process {os.environ.get('RANK', '0')} stops: another process of this run has ended "
            f"or cannot be reached ({words[:200]}). {_last_checkpoint(folder)}"
            " Run the same command again to go on; torchrun --max-restarts 3 does so by itself."
        ) from error


def _is_of_lost_process(error: RuntimeError) -> bool:
    """Say whether a collective failed; gloo raises plain runtime errors."""
    is_known = isinstance(error, dist.DistBackendError | dist.DistNetworkError)
    return is_known or any(words in str(error) for words in _OF_GLOO)


def _last_checkpoint(folder: Path) -> str:
    found = sorted(
        folder.rglob("checkpoints/step-*/checkpoint.json"), key=lambda path: path.stat().st_mtime
    )
    if not found:
        return "There was no checkpoint of this stage yet; finished steps are kept."
    return f"The last checkpoint is {found[-1].parent}."
