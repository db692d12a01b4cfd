"""Which local files a path means: one rule for every key and option that takes a path of text.

A path that exists means itself, whatever characters are in its name; any other is a glob, in which
``*``, ``?`` and ``[...]`` match within a name and ``**`` matches folders at any depth. A folder
means all files below it, as ``folder/**`` does. Links are followed. A link that leads nowhere is an
error, since what it stood for would be missed; one that leads back to a folder above it is not
entered again, since all below it is read already. Names that begin with a dot are hidden: they are
matched only by a part of the path that begins with a dot.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import os
import stat
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from langraft.core.errors import CorpusError

_MAX_NAMES = 100  # of one folder that links lead to, beyond which they multiply without end
_MISSING = (errno.ENOENT, errno.ENOTDIR)


def check_path(path: str, requested_by: str) -> None:
    """Refuse a path that names nothing.

    Raises:
        CorpusError: when it is empty, blank or has a NUL character.
    """
    if not path.strip() or "\0" in path:
        raise CorpusError(
            f"The path {path!r} of {requested_by} names no file or folder. Write . for the folder "
            f"in which the command runs ({Path.cwd()})."
        )


def find_paths(pattern: str, is_wanted: Callable[[str], bool]) -> tuple[list[str], bool]:
    """Return the files that a path or glob means, by name, and whether it may mean many.

    Args:
        pattern: Path of a file or folder, or a glob.
        is_wanted: Says whether a file of a folder is read; what a glob matches always is.

    Raises:
        CorpusError: for a link that leads nowhere or back to itself, a folder that may not be read,
            or something that is neither file nor folder.
    """
    status = path_status(pattern)
    if status is not None and stat.S_ISDIR(status.st_mode):
        below = [Path(path) for _, files in _walk(pattern) for path in files if is_wanted(path)]
        return [str(path) for path in sorted(below) if is_file(path)], True
    if status is not None:
        return [str(Path(pattern))] * is_file(pattern), False
    path = Path(pattern)
    parts = path.parts[1:] if path.anchor else path.parts
    pairs = zip(parts, (*parts[1:], ""), strict=True)
    parts = tuple(part for part, after in pairs if not part == after == "**")
    found = {str(Path(each)) for each in _expand(path.anchor or ".", parts)}
    return sorted(each for each in found if is_file(each)), _has_magic(pattern)


def is_file(path: str | Path) -> bool:
    """Say whether a path is a file; False for a folder, or when nothing has this name.

    Raises:
        CorpusError: for a link that leads nowhere or back to itself, a pipe or device, or when it
            may not be asked.
    """
    status = path_status(path)
    if status is None or stat.S_ISDIR(status.st_mode):
        return False
    if not stat.S_ISREG(status.st_mode):
        raise CorpusError(
            f"{path} is a pipe, socket or device, not a file. Save what it gives as a file, or "
            "take it out of the path."
        )
    return True


def path_status(path: str | Path) -> os.stat_result | None:
    """Return what a path leads to, or None when nothing has this name.

    Raises:
        CorpusError: for a link that leads nowhere or back to itself, or when it may not be asked.
    """
    try:
        return os.stat(path)
    except OSError as error:
        if error.errno not in _MISSING:
            raise read_error(path, error) from error
    if os.path.islink(path):
        raise CorpusError(
            f"{path} is a link to {os.readlink(path)}, which does not exist. Mend the link, or "
            "take it out of the path."
        )
    return None


@contextlib.contextmanager
def explain_read_errors(path: str | Path) -> Generator[None]:
    """Turn the system's errors about a path that cannot be read into a CorpusError."""
    try:
        yield
    except OSError as error:
        raise read_error(path, error) from error


def read_error(path: str | Path, error: OSError) -> CorpusError:
    """Return the error for a file or folder that the system does not let us read."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _MISSING:
        return CorpusError(f"No such file: {path} (seen from {Path.cwd()}).")
    if error.errno == errno.ELOOP:
        return CorpusError(
            f"{path} is a link that leads back to itself. Mend the link, or take it out of the "
            "path."
        )
    if error.errno == errno.EISDIR:
        return CorpusError(f"{path} is a folder, where a file is needed. Give a file in it.")
    if error.errno in (errno.EACCES, errno.EPERM):
        return CorpusError(
            f"{path} may not be read: {reason}. Change its permissions (chmod u+r, and u+rx for a "
            "folder), or take it out of the path."
        )
    return CorpusError(f"{path} cannot be read: {reason}. Mend it, or take it out of the path.")


def _has_magic(part: str) -> bool:
    return any(character in part for character in "*?[")


def _expand(folder: str, parts: tuple[str, ...]) -> Iterator[str]:
    """Yield the paths below a folder that the remaining parts of a glob match."""
    part, rest = parts[0], parts[1:]
    if part == "**":
        for each, files in _walk(folder):
            yield from _expand(each, rest) if rest else files
        return
    exact = os.path.join(folder, part)
    if not _has_magic(part) or ("*" not in part and "?" not in part and os.path.lexists(exact)):
        found = [(exact, _is_folder(exact))] if path_status(exact) is not None else []
    else:
        found = _entries(folder, part)
    for path, is_folder in found:
        if not rest:
            yield path
        elif is_folder:
            yield from _expand(path, rest)


def _walk(top: str) -> Iterator[tuple[str, list[str]]]:
    """Yield a folder and all below it, each with the paths of its files."""
    num_names = Counter[tuple[int, int]]()
    waiting: list[tuple[str, tuple[tuple[int, int], ...]]] = [(top, ())]
    while waiting:
        folder, above = waiting.pop()
        with explain_read_errors(folder):
            status = os.stat(folder)
        key = (status.st_dev, status.st_ino)
        if key in above:
            continue
        num_names[key] += 1
        if num_names[key] > _MAX_NAMES:
            raise CorpusError(
                f"Links below {top} lead to the folder {os.path.realpath(folder)} by more than "
                f"{_MAX_NAMES} names. Take out the links, or name the folders one by one."
            )
        entries = _entries(folder, "*")
        yield folder, [path for path, is_folder in entries if not is_folder]
        waiting += [(path, (*above, key)) for path, is_folder in reversed(entries) if is_folder]


def _entries(folder: str, pattern: str) -> list[tuple[str, bool]]:
    """Return what a folder holds under names that a pattern matches, and which are folders.

    Hidden names are matched by hidden patterns only.
    """
    found: list[tuple[str, bool]] = []
    with explain_read_errors(folder), os.scandir(folder) as entries:
        for entry in entries:
            is_seen = pattern.startswith(".") or not entry.name.startswith(".")
            if is_seen and fnmatch.fnmatchcase(entry.name, pattern):
                is_link = entry.is_symlink()
                is_folder = _is_folder(entry.path) if is_link else entry.is_dir()
                found.append((entry.path, is_folder))
    return sorted(found)


def _is_folder(path: str) -> bool:
    status = path_status(path)
    return status is not None and stat.S_ISDIR(status.st_mode)
