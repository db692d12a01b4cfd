"""Steps of a run: each owns a folder, with its outputs first and ``manifest.json`` last."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from langraft.core.errors import ArtifactError
from langraft.core.files import (
    file_sha256,
    fingerprint,
    read_json,
    write_json,
)
from langraft.core.in_words.machine import machine_in_words
from langraft.core.ownership import prepare_folder
from langraft.core.system_errors import explain_disk_errors

MANIFEST = "manifest.json"
_INPUTS = "inputs.json"
_RUN_AGAIN = "Delete its folder; the step will run again."
_VERSIONED = ("langraft", "torch", "transformers", "tokenizers", "safetensors", "numpy", "babel")


@dataclass(frozen=True, slots=True)
class _Note:
    """What ``inputs.json`` says of a step that has begun."""

    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The record of a finished step.

    Attributes:
        step: Name of the step.
        fingerprint: Hash of its inputs; a step runs again when this changes.
        inputs: The inputs themselves.
        counts: Counts of the outputs: tokens, documents, bytes, reasons for drops.
        files: Outputs by path relative to the folder, each with ``bytes`` and ``sha256``.
        versions: Of Python and the packages that matter.
        seconds: Wall time of the session that finished the step.
        finished: When, in UTC; like ``machine`` empty in manifests of earlier versions.
        machine: On which processor.
        sha256: Hash of all of the above; empty in one that is only planned.
    """

    step: str
    fingerprint: str
    inputs: dict[str, Any]
    counts: dict[str, Any]
    files: dict[str, dict[str, Any]]
    versions: dict[str, str]
    seconds: float
    finished: str = ""
    machine: str = ""
    sha256: str = ""

    def sealed(self) -> Manifest:
        """Return it with its hash, so that later steps need not check what they read in it."""
        plain = json.loads(json.dumps(asdict(replace(self, sha256=""))))  # with the keys of a file
        for name in ("finished", "machine"):
            if not plain[name]:  # earlier versions wrote and hashed neither
                del plain[name]
        return replace(self, sha256=fingerprint(plain))


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a finished step.

    Raises:
        ArtifactError: when the step has not finished, or its manifest was changed afterwards.
    """
    path = folder / MANIFEST
    manifest = read_json(path, Manifest, advice=_RUN_AGAIN)
    if manifest.sha256 != manifest.sealed().sha256:
        raise ArtifactError(f"{path} was changed after it was written. {_RUN_AGAIN}")
    return manifest


class ProcessGroup(Protocol):
    """The processes of a run; they share a file system."""

    @property
    def is_leader(self) -> bool:
        """Whether this process writes."""
        ...

    def barrier(self) -> None:
        """Wait for all processes."""
        ...


class _SingleProcess:
    is_leader = True

    def barrier(self) -> None:
        pass


def perform(
    step: str,
    folder: Path,
    inputs: Mapping[str, Any],
    build: Callable[[Path], Mapping[str, Any]],
    *,
    is_resumable: bool = False,
    processes: ProcessGroup | None = None,
    is_collective: bool = False,
    working: Collection[str] = (),
) -> Manifest:
    """Run a step once: skip it when it is finished, run it again when its inputs changed.

    Args:
        step: Name for the manifest.
        folder: Owned by this step alone.
        inputs: JSON-able; everything that the outputs depend on.
        build: Writes outputs into the folder and returns counts for the manifest.
        is_resumable: Whether ``build`` continues its own partial work; otherwise it starts clean.
        processes: All processes of the run, each of which calls ``perform``; only the leader
            writes. None for a single process.
        is_collective: Whether every process runs ``build``; otherwise only the leader.
        working: Files and folders that a resumable step needs until it is finished, such as its
            checkpoints: they are no outputs, and are deleted once the manifest stands.

    Raises:
        ArtifactError: when the folder cannot be written or the disk is full.
    """
    processes = processes or _SingleProcess()
    if processes.is_leader and finished_manifest(folder, inputs) is None:
        _prepare(folder, inputs, is_resumable)
    processes.barrier()
    manifest = finished_manifest(folder, inputs)
    if manifest is None and processes.is_leader:
        manifest = _build(step, folder, inputs, build, working)
    elif manifest is None and is_collective:
        build(folder)
    processes.barrier()
    if processes.is_leader:
        _delete_working(folder, working)
    return manifest or read_manifest(folder)


def _prepare(folder: Path, inputs: Mapping[str, Any], is_resumable: bool) -> None:
    """Make the folder of a step, empty unless it holds resumable work for the same inputs."""
    with explain_disk_errors(folder):
        if is_resumable and _started_with(folder, inputs):
            (folder / MANIFEST).unlink(missing_ok=True)
            return
        if (folder / _INPUTS).is_file():  # a kill while it is deleted leaves nothing to resume
            (folder / MANIFEST).unlink(missing_ok=True)
            os.truncate(folder / _INPUTS, 0)  # needs no space, unlike another note
        prepare_folder(folder, _INPUTS)
        _write_inputs(folder, inputs)


def _delete_working(folder: Path, working: Collection[str]) -> None:
    """Delete what only an unfinished step needs."""
    with explain_disk_errors(folder):
        for path in (folder / name for name in working):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def claim_folder(folder: Path, inputs: Mapping[str, Any]) -> None:
    """Make the folder of a resumable step before ``perform``, for work that precedes it.

    Unlike ``perform`` it deletes nothing, because the work in the folder may have cost money.

    Raises:
        ArtifactError: when the folder holds the work of other inputs, or cannot be written.
    """
    with explain_disk_errors(folder):
        if folder.is_dir() and _names(folder) and not _started_with(folder, inputs):
            raise ArtifactError(
                f"{folder} holds the work of another config or of earlier input. Put these back, "
                "or choose another folder with --out."
            )
        folder.mkdir(parents=True, exist_ok=True)
        _write_inputs(folder, inputs)


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {f".{_INPUTS}.partial"}


def _write_inputs(folder: Path, inputs: Mapping[str, Any]) -> None:
    note = {"fingerprint": fingerprint(inputs), "inputs": dict(inputs)}
    write_json(folder / _INPUTS, note)


def _started_with(folder: Path, inputs: Mapping[str, Any]) -> bool:
    """Return whether the folder's step was started with these inputs."""
    try:
        return read_json(folder / _INPUTS, _Note).fingerprint == fingerprint(inputs)
    except ArtifactError:
        return False


def _build(
    step: str,
    folder: Path,
    inputs: Mapping[str, Any],
    build: Callable[[Path], Mapping[str, Any]],
    working: Collection[str],
) -> Manifest:
    started = time.monotonic()
    with explain_disk_errors(folder):
        counts = build(folder)
        manifest = Manifest(
            step=step,
            fingerprint=fingerprint(inputs),
            inputs=dict(inputs),
            counts=dict(counts),
            files={
                path.relative_to(folder).as_posix(): {
                    "bytes": path.stat().st_size,
                    "sha256": file_sha256(path),
                }
                for path in sorted(folder.rglob("*"))
                if path.is_file()
                and path.name != _INPUTS
                and path.relative_to(folder).parts[0] not in working
            },
            versions=versions(),
            seconds=round(time.monotonic() - started, 3),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=machine_in_words(),
        ).sealed()
        write_json(folder / MANIFEST, asdict(manifest))
    return manifest


def planned_manifest(step: str, inputs: Mapping[str, Any]) -> Manifest:
    """Return the manifest of a step that is not run, for dry runs: its inputs and no outputs."""
    return Manifest(
        step=step,
        fingerprint=fingerprint(inputs),
        inputs=dict(inputs),
        counts={},
        files={},
        versions={},
        seconds=0.0,
    )


def finished_manifest(folder: Path, inputs: Mapping[str, Any]) -> Manifest | None:
    """Return the manifest if the step finished with these inputs and its files are unchanged.

    The manifest was written last, so only files newer than it can have changed; these are hashed.
    """
    if not (folder / MANIFEST).is_file():
        return None
    try:
        manifest = read_manifest(folder)
    except ArtifactError:
        return None
    if manifest.fingerprint != fingerprint(inputs):
        return None
    written_ns = (folder / MANIFEST).stat().st_mtime_ns
    for name, facts in manifest.files.items():
        path = folder / name
        if not path.is_file():
            return None
        found = path.stat()
        if found.st_size != facts.get("bytes"):
            return None
        if found.st_mtime_ns > written_ns and file_sha256(path) != facts.get("sha256"):
            return None
    return manifest


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that results depend on."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in _VERSIONED
    }
