"""One clear message from every process when another one of the run has died.

A collective that waits for a process that is gone fails in the words of its library. What helps is
where the last checkpoint is and that the same command goes on from it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Generator
from pathlib import Path

import torch.distributed as dist

from langraft.core.errors import TrainingError

_GLOO_ERRORS = ("gloo", "Connection closed by peer", "Connection reset by peer", "Broken pipe")


@contextlib.contextmanager
def explain_peer_failure(folder: Path) -> Generator[None]:
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
        if is_alone or not is_peer_failure(error):
            raise
        if threading.current_thread() is threading.main_thread():
            # torchrun ends this process too; the message must be out first.
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        words = str(error).splitlines()[0]
        words = words.partition("] ")[2] or words  # gloo begins with a line of its source
        raise TrainingError(
            f"Process {os.environ.get('RANK', '0')} stops: another process of this run has ended "
            f"or cannot be reached ({words[:200]}). {_last_checkpoint(folder)}"
            " Run the same command again to go on; torchrun --max-restarts 3 does so by itself."
        ) from error


def is_peer_failure(error: Exception) -> bool:
    """Say whether a collective failed; gloo raises plain runtime errors."""
    is_known = isinstance(error, dist.DistBackendError | dist.DistNetworkError)
    is_told = isinstance(error, RuntimeError) and any(w in str(error) for w in _GLOO_ERRORS)
    return is_known or is_told


def _last_checkpoint(folder: Path) -> str:
    found = sorted(
        folder.rglob("checkpoints/step-*/checkpoint.json"), key=lambda path: path.stat().st_mtime
    )
    if not found:
        return "There was no checkpoint of this stage yet; finished steps are kept."
    return f"The last checkpoint is {found[-1].parent}."
