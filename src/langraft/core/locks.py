"""A lock on a run folder, so that only one process works in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path

from langraft.core.errors import ArtifactError
from langraft.core.ownership import claim_run_folder
from langraft.core.system_errors import explain_disk_errors

LOCK = ".lock"


@contextlib.contextmanager
def lock(folder: Path) -> Generator[None]:
    """Lock a run folder for this process; the lock ends with the process, even if it is killed.

    The folder is made where there is none; the lock's file marks it as a run's from then on.

    Raises:
        ArtifactError: when another process is running in the folder, it is no run's or holds
            symbolic links, or it cannot be written.
    """
    with explain_disk_errors(folder):
        claim_run_folder(folder, LOCK)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        file = os.fdopen(os.open(folder / LOCK, flags, 0o644), "a+", encoding="utf-8")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise ArtifactError(
                f"Another run (process {file.read().strip() or 'unknown'}) is working in {folder}. "
                "Wait for it, stop it, or choose another folder with --out."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
