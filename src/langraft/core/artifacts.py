"""Every step of a run owns a folder: outputs first, ``manifest.json`` last and atomically."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from langraft.core.errors import ArtifactError

MANIFEST = "manifest.json"
_INPUTS = "inputs.json"
_VERSIONED = ("langraft", "torch", "transformers", "tokenizers", "safetensors", "numpy", "babel")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a finished step says of itself.

    Attributes:
        step: Its name.
        fingerprint: Of its inputs; a step runs again when this changes.
        inputs: What the fingerprint covers, in readable form.
        counts: What was made, counted: tokens, documents, bytes, reasons for drops.
        files: Outputs by path relative to the folder, each with ``bytes`` and ``sha256``.
        versions: Of Python and the packages that matter.
        seconds: Wall time of the session that finished the step.
    """

    step: str
    fingerprint: str
    inputs: dict[str, Any]
    counts: dict[str, Any]
    files: dict[str, dict[str, Any]]
    versions: dict[str, str]
    seconds: float


def fingerprint(value: object) -> str:
    """Return the SHA-256 of a JSON-able value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sha256_once(path: Path) -> str:
    """Return a file's SHA-256, computed once a process as long as the file stays the same."""
    stat = path.stat()
    return _sha256_of_version(path.resolve(), stat.st_size, stat.st_mtime_ns)


@functools.cache
def _sha256_of_version(path: Path, num_bytes: int, modified_ns: int) -> str:
    del num_bytes, modified_ns  # a changed file is another key
    return file_sha256(path)


def write_text(path: Path, text: str) -> None:
    """Write a whole file or none of it: temporary file, flush to disk, rename."""
    temporary = path.with_name(f".{path.name}.partial")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON that langraft wrote.

    Raises:
        ArtifactError: when the file is missing or was damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(
            f"{path} does not exist. Give the folder of a finished step, or run it first."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{path} is damaged ({error}). Delete it; the step will run again."
        ) from None


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a finished step.

    Raises:
        ArtifactError: when the step has not finished.
    """
    path = folder / MANIFEST
    try:
        return Manifest(**read_json(path))
    except TypeError:
        raise ArtifactError(
            f"{path} is no manifest of this langraft. Delete its folder; the step will run again."
        ) from None


class Team(Protocol):
    """The processes of a run; they share a file system."""

    @property
    def is_leader(self) -> bool:
        """Whether this process writes."""
        ...

    def barrier(self) -> None:
        """Wait for all."""
        ...


class Solo:
    """A team of one."""

    is_leader = True

    def barrier(self) -> None:
        """Return at once."""


def perform(
    step: str,
    folder: Path,
    inputs: Mapping[str, Any],
    build: Callable[[Path], Mapping[str, Any]],
    *,
    is_resumable: bool = False,
    team: Team | None = None,
    is_collective: bool = False,
) -> Manifest:
    """Run a step once: skip it when it is finished, run it again when its inputs changed.

    Args:
        step: Name for the manifest.
        folder: Owned by this step alone.
        inputs: JSON-able; everything that the outputs depend on.
        build: Writes outputs into the folder and returns counts for the manifest.
        is_resumable: ``build`` finds its own partial work and goes on; otherwise it starts clean.
        team: All processes of the run; each calls ``perform``, the leader writes.
        is_collective: Every process runs ``build``, not the leader alone.

    Raises:
        ArtifactError: when the folder cannot be written or the disk is full.
    """
    team = team or Solo()
    wanted = fingerprint(inputs)
    if team.is_leader and finished(folder, inputs) is None:
        _prepare(folder, wanted, inputs, is_resumable)
    team.barrier()
    found = finished(folder, inputs)
    if found is None and team.is_leader:
        found = _build(step, folder, wanted, inputs, build)
    elif found is None and is_collective:
        build(folder)
    team.barrier()
    return found or read_manifest(folder)


def _prepare(folder: Path, wanted: str, inputs: Mapping[str, Any], is_resumable: bool) -> None:
    with explain_disk_errors(folder):
        is_same = is_resumable and _partial_fingerprint(folder) == wanted
        if folder.exists() and not is_same:
            _refuse_to_delete_what_is_not_ours(folder)
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        write_json(folder / _INPUTS, {"fingerprint": wanted, "inputs": dict(inputs)})


def begin(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Make the folder of a resumable step ahead of ``perform``, for work that is done before it.

    Unlike ``perform`` it deletes nothing: what lies there may have been paid for.

    Raises:
        ArtifactError: when the folder holds the work of other inputs, or cannot be written.
    """
    with explain_disk_errors(folder):
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set[str]()
        if names - {f".{_INPUTS}.partial"} and _partial_fingerprint(folder) != fingerprint(inputs):
            raise ArtifactError(
                f"{folder} holds the work of another config or of earlier input. Put these back, "
                "or choose another folder with --out."
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / _INPUTS, {"fingerprint": fingerprint(inputs), "inputs": dict(inputs)})


def _refuse_to_delete_what_is_not_ours(folder: Path) -> None:
    if folder.is_dir():
        names = {path.name for path in folder.iterdir()} - {f".{_INPUTS}.partial"}
        if not names or names & {_INPUTS, MANIFEST}:
            return
    raise ArtifactError(
        f"{folder} is in the way: langraft did not make it and will not delete it. "
        "Move it, or choose another folder with --out."
    )


def _build(
    step: str,
    folder: Path,
    wanted: str,
    inputs: Mapping[str, Any],
    build: Callable[[Path], Mapping[str, Any]],
) -> Manifest:
    started = time.monotonic()
    with explain_disk_errors(folder):
        counts = build(folder)
        manifest = Manifest(
            step=step,
            fingerprint=wanted,
            inputs=dict(inputs),
            counts=dict(counts),
            files={
                path.relative_to(folder).as_posix(): {
                    "bytes": path.stat().st_size,
                    "sha256": file_sha256(path),
                }
                for path in sorted(folder.rglob("*"))
                if path.is_file() and path.name != _INPUTS
            },
            versions=versions(),
            seconds=round(time.monotonic() - started, 3),
        )
        write_json(folder / MANIFEST, asdict(manifest))
    return manifest


def planned(step: str, inputs: Mapping[str, Any]) -> Manifest:
    """Return what a step's manifest would say of its inputs, for dry runs."""
    return Manifest(
        step=step,
        fingerprint=fingerprint(inputs),
        inputs=dict(inputs),
        counts={},
        files={},
        versions={},
        seconds=0.0,
    )


def finished(folder: Path, inputs: Mapping[str, Any]) -> Manifest | None:
    """Return the manifest when the step is done with these inputs and its files are as they were.

    The manifest was written last, so only a file that is younger can have changed; it is hashed.
    """
    if not (folder / MANIFEST).is_file():
        return None
    try:
        manifest = read_manifest(folder)
    except (ArtifactError, TypeError):
        return None
    if manifest.fingerprint != fingerprint(inputs):
        return None
    written_ns = (folder / MANIFEST).stat().st_mtime_ns
    for name, facts in manifest.files.items():
        path = folder / name
        if not path.is_file():
            return None
        found = path.stat()
        if found.st_size != facts["bytes"]:
            return None
        if found.st_mtime_ns > written_ns and file_sha256(path) != facts["sha256"]:
            return None
    return manifest


def _partial_fingerprint(folder: Path) -> str | None:
    try:
        return read_json(folder / _INPUTS)["fingerprint"]
    except (ArtifactError, KeyError, TypeError):
        return None


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in _VERSIONED
    }


@contextlib.contextmanager
def explain_disk_errors(folder: Path) -> Generator[None]:
    """Turn a full disk or a folder that cannot be written into one clear message.

    Libraries that write through native code report a full disk in errors of their own, so
    whatever fails while no space is left counts as that.
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
            for place in (folder, *folder.parents):
                if place.is_file():
                    raise ArtifactError(
                        f"{place} is a file, and a folder is wanted. Choose another with --out."
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
    """Say whether the path that an error names is in the folder or above it."""
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


@contextlib.contextmanager
def lock(folder: Path) -> Generator[None]:
    """Hold a run folder for one process; the lock ends with the process, however it ends.

    Raises:
        ArtifactError: when another process is running in the folder, or it cannot be written.
    """
    with explain_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("a+", encoding="utf-8")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise ArtifactError(
                f"Another run (process {file.read().strip() or 'unknown'}) is at work in {folder}. "
                "Wait for it, stop it, or choose another folder with --out."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
