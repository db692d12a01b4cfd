"""Folders and files that langraft writes: it replaces what it made itself and nothing else.

Every folder that langraft may delete holds a mark, a file that is written first and deleted last:
``inputs.json`` in the folder of a step, ``.lock`` in that of a run, ``.langraft`` in any other. A
process that is killed in between leaves a folder that the next one knows as its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Generator, Iterable
from pathlib import Path

from langraft.core.errors import ArtifactError
from langraft.core.files import write_text
from langraft.core.system_errors import explain_disk_errors

MARK = ".langraft"
_NOTE = "{kind}\nlangraft made this folder and may replace it. Delete this file to prevent that.\n"


@contextlib.contextmanager
def replaced_folder(out: Path | str, kind: str, *, inputs: Iterable[Path] = ()) -> Generator[Path]:
    """Yield an empty folder that takes the place of ``out`` when the block ends without an error.

    After an error, and after a kill, ``out`` is as it was.

    Args:
        out: Folder to make, or one that an earlier call made.
        kind: What it holds; a folder of another kind is not replaced.
        inputs: Files and folders that are read to make it.

    Raises:
        ArtifactError: when ``out`` is something else, an input or a folder around one, or cannot
            be written.
    """
    out = Path(os.path.abspath(out))
    refuse_inputs(out, inputs)
    before = out.with_name(f".{out.name}.replaced")
    partial = out.with_name(f".{out.name}.partial")
    with explain_disk_errors(out):
        for folder in (out, before, partial):
            _refuse_foreign(folder, MARK)
        _refuse_other_kind(out, kind)
        if before.is_dir() and not out.exists():  # killed between the two renames
            before.rename(out)
        discard_folder(partial, MARK)
        partial.mkdir(parents=True)
        try:
            with explain_disk_errors(out):  # while what fills the disk is still there
                write_text(partial / MARK, _NOTE.format(kind=kind))
                yield partial
            discard_folder(before, MARK)
            if out.exists():
                out.rename(before)
            partial.rename(out)
        except BaseException:
            discard_folder(partial, MARK)
            raise
        discard_folder(before, MARK)


@contextlib.contextmanager
def new_file(out: Path | str, *, inputs: Iterable[Path] = ()) -> Generator[Path]:
    """Yield the path of a file that takes the place of ``out`` when the block ends without error.

    Args:
        out: File to make. It may not exist: a file has no mark of who made it.
        inputs: Files and folders that are read to make it.

    Raises:
        ArtifactError: when ``out`` exists, or cannot be written.
    """
    out = Path(os.path.abspath(out))
    refuse_inputs(out, inputs)
    if out.is_symlink() or out.exists():
        raise ArtifactError(
            f"{out} exists, and langraft overwrites no file that it may not have made. Delete it, "
            "or give another name."
        )
    partial = out.with_name(f".partial-{out.name}")  # keeps the suffix, which tells the format
    with explain_disk_errors(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.unlink(missing_ok=True)
            yield partial
            partial.rename(out)
        finally:
            partial.unlink(missing_ok=True)


def refuse_inputs(out: Path, inputs: Iterable[Path]) -> None:
    """Raise ArtifactError where ``out`` is an input, or holds one."""
    wanted = Path(os.path.realpath(out))
    for given in inputs:
        found = Path(os.path.realpath(given))
        if found == wanted:
            raise ArtifactError(f"{out} is read from, so it cannot be written. Give another --out.")
        if found.is_relative_to(wanted):
            raise ArtifactError(
                f"{out} holds {given}, which is read from, so it cannot be replaced. Give a new "
                "folder with --out."
            )


def claim_run_folder(folder: Path, mark: str) -> None:
    """Make the folder of a run, or check that one which stands there is a run's or empty.

    Raises:
        ArtifactError: when it holds files of somebody else, which a run might overwrite, or a
            symbolic link: a run would write to wherever that leads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _refuse_foreign(folder, mark)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent) / name
            if path.is_symlink():
                raise ArtifactError(
                    f"{path} is a symbolic link. langraft follows none inside the folder of a "
                    "run, as it would write to wherever the link leads. Put the files themselves "
                    "there, or choose another folder with --out."
                )


def prepare_folder(folder: Path, mark: str) -> None:
    """Make an empty folder in place of what langraft left there.

    Raises:
        ArtifactError: when something else is there.
    """
    _refuse_foreign(folder, mark)
    discard_folder(folder, mark)
    folder.mkdir(parents=True)


def discard_folder(folder: Path, mark: str) -> None:
    """Delete a folder that langraft made, its mark last; nothing happens where there is none."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != mark:
            path.unlink()
    (folder / mark).unlink(missing_ok=True)
    folder.rmdir()


def _refuse_foreign(folder: Path, mark: str) -> None:
    """Raise ArtifactError for what may not be replaced, because langraft did not make it."""
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.is_dir() and not folder.is_symlink():
        names = {path.name for path in folder.iterdir()} - {f".{mark}.partial"}
        if not names or mark in names:
            return
    raise ArtifactError(
        f"{folder} is in the way: langraft did not make it and will not replace it or write into "
        "it. Move it, or choose another folder with --out."
    )


def _refuse_other_kind(folder: Path, kind: str) -> None:
    """Raise ArtifactError for a folder in which langraft put something else."""
    mark = folder / MARK
    found = mark.read_text(encoding="utf-8").partition("\n")[0] if mark.is_file() else kind
    if found != kind:
        raise ArtifactError(
            f"{folder} holds {found} that langraft made, and {kind} does not replace it. "
            "Delete the folder, or choose another with --out."
        )
