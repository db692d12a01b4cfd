"""What the operating system refuses, in words: a full disk, a missing permission, no memory."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Generator
from pathlib import Path

from langraft.core.errors import ArtifactError


def explain_system_error(error: Exception) -> str | None:
    """Return what the system refused, in words; None for any other error."""
    match error:
        case OSError():
            what = error.strerror or str(error) or type(error).__name__
            names = [str(name) for name in (error.filename, error.filename2) if name is not None]
            where = f"{' -> '.join(names)}: " if names else ""
            advice = {
                errno.EACCES: "Change its permissions, or give another path.",
                errno.EPERM: "Change its permissions, or give another path.",
                errno.EISDIR: "A file is expected there, and this is a folder.",
                errno.ENOTDIR: "A folder is expected there, and this is a file.",
                errno.ELOOP: "Its symbolic links lead back to themselves; mend them.",
                errno.ENAMETOOLONG: "Give a shorter name.",
                errno.ENOSPC: "Free some space and run the same command again.",
                errno.EDQUOT: "Free some space and run the same command again.",
                errno.EMFILE: "Raise the limit of open files (ulimit -n).",
            }.get(error.errno or 0, "Mend this and run the same command again.")
            return f"{where}{what}. {advice}"
        case MemoryError():
            return "There is not enough memory. `langraft plan` says how much a recipe needs."
        case RecursionError():
            return "A file is nested too deeply to be read."
        case UnicodeError():
            return f"A text or a name is no valid Unicode: {error}. Rename or mend it."
        case _:
            return None


@contextlib.contextmanager
def explain_disk_errors(folder: Path) -> Generator[None]:
    """Turn errors about a full disk or an unwritable folder into one clear ArtifactError.

    Libraries that write through native code report a full disk with errors of their own, so any
    error counts as that while no space is left.
    """
    try:
        yield
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else None
        if number in (errno.EROFS, errno.EACCES, errno.EPERM) and _is_inside(error, folder):
            raise ArtifactError(
                f"Cannot write to {folder}: {os.strerror(number)}. "
                "Choose another folder with --out, or change its permissions."
            ) from error
        if number in (errno.EEXIST, errno.ENOTDIR):
            for path in (folder, *folder.parents):
                if path.is_file():
                    raise ArtifactError(
                        f"{path} is a file, but must be a folder. Choose another with --out."
                    ) from error
        if number == errno.ENOENT and not folder.exists() and _is_inside(error, folder):
            raise ArtifactError(
                f"{folder} cannot be made. Choose another folder with --out."
            ) from error
        if number in (errno.ENOSPC, errno.EDQUOT) or _is_full(folder):
            raise ArtifactError(
                f"No space left on the disk that holds {folder}. Free some space and run the same "
                "command again: finished steps and the last checkpoint are kept."
            ) from error
        raise


def _is_inside(error: Exception, folder: Path) -> bool:
    """Return whether the path that an error names is in the folder or above it."""
    named = getattr(error, "filename", None)
    if not isinstance(named, str | os.PathLike):
        return True
    path = Path(named).absolute()
    return path.is_relative_to(folder.absolute()) or folder.absolute().is_relative_to(path)


def _is_full(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return bool(usage.total) and usage.free < 64 * 1024
