"""The folder of a GGUF file's base: made once, kept in the user's cache, found by the content.

It lies in ``$XDG_CACHE_HOME/langraft/gguf`` (``~/.cache/...``) and may be deleted at any time: it
is made again, with the same bytes, as long as the file is where it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from langraft.core.errors import ArtifactError, ModelError
from langraft.core.files import file_sha256_once, read_json, write_json
from langraft.core.ownership import replaced_folder
from langraft.families.from_gguf.file import GgufFile, import_packages

SUFFIX = ".gguf"
KIND = "a base read from GGUF"
GGUF_JSON = "gguf.json"
_FORMAT = 1  # of the folder: another number, and it is made again
_NAME_CHARACTERS, _HASH_CHARACTERS = 64, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """``gguf.json``: where a folder comes from.

    Attributes:
        format: Version of what is written in such a folder.
        file: The GGUF file, where it was then.
        sha256: Of the file.
        quantization: How its weights are rounded, as llama.cpp names it.
        dtype: Precision of the weights in the folder.
    """

    format: int
    file: str
    sha256: str
    quantization: str
    dtype: str


def is_gguf(path: Path) -> bool:
    """Say whether a path is that of a GGUF file, by its name."""
    return path.suffix.lower() == SUFFIX and not path.is_dir()


def source_of(folder: Path) -> Source | None:
    """Return where a folder comes from, if it was made from a GGUF file."""
    path = folder / GGUF_JSON
    return read_json(path, Source) if path.is_file() else None


def file_of_cached(folder: Path) -> Path | None:
    """Return the GGUF file of a folder in the cache; None for any other folder."""
    is_cached = folder.resolve().parent == _home().resolve()
    found = source_of(folder) if is_cached else None
    return Path(found.file) if found else None


def folder_of_gguf(path: Path) -> Path:
    """Return the folder of the base in a GGUF file, made at the first call.

    Safe against a kill at any time, and against other processes: they wait for the one that makes
    it.

    Raises:
        ModelError: when there is no such file, or it holds no base.
        MissingExtraError: when it has to be made and the packages for that are not installed.
        ArtifactError: when the cache cannot be written.
    """
    if not path.is_file():
        raise ModelError(f"There is no file {path}. Check the path of the GGUF file.")
    sha256 = file_sha256_once(path)
    home = _home()
    folder = home / f"{path.stem[:_NAME_CHARACTERS]}-{sha256[:_HASH_CHARACTERS]}"
    if _is_made(folder, sha256):
        return folder
    with _alone(home, folder.name):
        if not _is_made(folder, sha256):
            with replaced_folder(folder, KIND, inputs=[path]) as partial:
                write_base_of(path, partial, sha256, home=folder)
    return folder


def write_base_of(path: Path, folder: Path, sha256: str, *, home: Path | None = None) -> None:
    """Write the base in a GGUF file into an empty folder, with a note on stderr of what it is.

    Args:
        path: The file.
        folder: Where to write.
        sha256: Of the file.
        home: Where the folder will be, for the note.

    Raises:
        ModelError: when the file holds no base.
        MissingExtraError: when the packages that read GGUF are not installed.
    """
    import_packages()
    from langraft.families.from_gguf.convert import write_base

    file = GgufFile(path.absolute())
    dtype = str(file.dtype).removeprefix("torch.")
    note = f"{path}: its {file.quantization} weights are written once as {dtype}"
    note += f" to {home or folder}."
    if file.is_rounded:
        note += (
            f"\nNote: {file.quantization} weights are rounded: this is not the original model but "
            "a coarser copy. Where the original can be had, it is the better base."
        )
    print(note, file=sys.stderr, flush=True)
    write_base(file, folder)
    found = Source(
        format=_FORMAT,
        file=str(file.path),
        sha256=sha256,
        quantization=file.quantization,
        dtype=dtype,
    )
    write_json(folder / GGUF_JSON, {key: getattr(found, key) for key in Source.__slots__})


def _is_made(folder: Path, sha256: str) -> bool:
    found = source_of(folder)
    return found is not None and (found.format, found.sha256) == (_FORMAT, sha256)


def _home() -> Path:
    """Return the folder of all such folders."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    cache = Path(given) if os.path.isabs(given) else Path.home() / ".cache"
    return cache / "langraft" / "gguf"


@contextlib.contextmanager
def _alone(home: Path, name: str) -> Generator[None]:
    """Wait until no other process makes the folder of this name, and keep others out."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        file = (home / f".{name}.lock").open("a")
    except OSError as error:
        raise ArtifactError(
            f"Cannot write to {home}: {error.strerror}. Set XDG_CACHE_HOME to a folder that can "
            "be written, or change its permissions."
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
