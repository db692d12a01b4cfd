"""Files on this machine and elsewhere: which ones a path or an fsspec address names.

A path without a protocol never touches fsspec. Everything else (``s3://``, ``gs://``, ``https://``,
``hf://``, ``memory://``) is fsspec's, with whatever credentials its packages find by themselves.
"""

from __future__ import annotations

import functools
import glob
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langraft.core.errors import CorpusError, UserError
from langraft.corpus.reading.extra import import_extra
from langraft.corpus.reading.patience import PatientFile, describe, persist

COMPRESSIONS = (".gz", ".zst")
_PROTOCOL = re.compile(r"[a-z][a-z0-9+.-]+://")
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "hf": "huggingface_hub",
    "http": "aiohttp",
    "https": "aiohttp",
}
_VERSION_KEYS = (
    "ETag",
    "etag",
    "Content-MD5",
    "md5Hash",
    "checksum",
    "blob_id",
    "LastModified",
    "Last-Modified",
    "last_modified",
    "updated",
    "mtime",
    "created",
)
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as it lies somewhere.

    Attributes:
        address: Path or address.
        num_bytes: Size as stored; 0 where the server does not say.
        version: Changes when the content may have changed: times, checksums, entity tags.
    """

    address: str
    num_bytes: int
    version: str


def is_remote(address: str) -> bool:
    """Say whether this is an address of fsspec's and not a path."""
    return _PROTOCOL.match(address) is not None


def place(address: str) -> Path | str:
    """Return how a broken record names the file: a path, or the address as it is."""
    return address if is_remote(address) else Path(address)


def kind_of(address: str, kinds: Sequence[str]) -> str | None:
    """Return the suffix that says what a file holds, without compression; None if it is none.

    Parquet compresses inside the file, so ``.parquet.gz`` is no kind.
    """
    name = address.partition("?")[0] if is_remote(address) else address  # https://…/a.jsonl?raw=1
    suffixes = Path(name).suffixes
    if suffixes and suffixes[-1] in COMPRESSIONS:
        kinds = [kind for kind in kinds if kind != ".parquet"]
        suffixes = suffixes[:-1]
    return suffixes[-1] if suffixes and suffixes[-1] in kinds else None


def find_files(pattern: str, kinds: Sequence[str], asked_by: str) -> list[StoredFile]:
    """Return the files that a path or address, a folder or a glob names, in order of name.

    Args:
        pattern: Without placeholders.
        kinds: Suffixes that can be read; a folder's other files are passed over. Empty: all.
        asked_by: For messages, such as ``corpus source `files`, language el``.

    Raises:
        CorpusError: when nothing is there, it cannot be reached, or a named file is of no kind.
        MissingExtraError: when fsspec is not installed.
        UserError: when the package for a protocol is not installed.
    """
    readable = f"{', '.join(kinds)}, also with {' or '.join(COMPRESSIONS)}"
    if is_remote(pattern):
        found, is_many = _find_remote(pattern, kinds)
        seen_from = ""
    else:
        found, is_many = _find_local(pattern, kinds)
        seen_from = f"; seen from {Path.cwd()}"
    if not found:
        raise CorpusError(
            f"{'No file matches' if is_many else 'No such file:'} {pattern} ({asked_by}"
            f"{seen_from}).{f' Readable are {readable}.' if kinds else ''}"
        )
    for file in found:
        if kinds and kind_of(file.address, kinds) is None:
            raise CorpusError(
                f"{file.address}: cannot tell what kind of file this is. Its name must end in "
                f"{readable}."
            )
    return found


def relative_name(address: str, pattern: str) -> str:
    """Return a file's name as seen from the part of the pattern that all its files share."""
    if address == pattern:
        name = address.rpartition("/")[2]
    else:
        fixed = pattern
        if not address.startswith(pattern.rstrip("/") + "/"):  # a glob, not a folder
            fixed = re.split(r"[*?[]", pattern, maxsplit=1)[0].rpartition("/")[0]
        name = (
            address[len(fixed) :] if is_remote(address) else os.path.relpath(address, fixed or ".")
        )
    return os.fsencode(name.lstrip("/")).decode("utf-8", errors="backslashreplace")


def open_stored(address: str) -> io.BufferedReader:
    """Open a file's bytes as they are stored, buffered; a remote one with patience.

    Raises:
        CorpusError: when an address cannot be reached.
    """
    if not is_remote(address):
        return io.BufferedReader(io.FileIO(address), _BLOCK_BYTES)
    system, path = _connect(address)
    first = stored(address)
    connections = 0

    def open_anew() -> Any:
        nonlocal connections
        connections += 1
        if connections > 1:
            system.invalidate_cache()
        if connections > 1 and _stored(address, system.info(path)) != first:
            raise CorpusError(
                f"{address} has changed while it was read. Run the same command again."
            )
        return system.open(path, "rb")

    file = PatientFile(address, open_anew, first.num_bytes)
    return io.BufferedReader(file, _BLOCK_BYTES)


def is_empty(address: str) -> bool:
    """Say whether a file has no bytes at all."""
    if stored(address).num_bytes:
        return False
    with open_stored(address) as file:  # a server may not say the size
        return not file.peek(1)


def stored(address: str) -> StoredFile:
    """Return one file's size and version.

    Raises:
        CorpusError: when it is not there or cannot be reached.
    """
    if not is_remote(address):
        status = Path(address).stat()
        return StoredFile(address, status.st_size, str(status.st_mtime_ns))
    system, path = _connect(address)
    return _stored(address, _ask(address, lambda: system.info(path)))


def stored_together(addresses: Sequence[str]) -> list[StoredFile]:
    """Return sizes and versions of many files, with one question a folder and not one a file.

    Raises:
        CorpusError: when one is not there or cannot be reached.
    """
    folders = dict.fromkeys(address.rpartition("/")[0] for address in addresses)
    listed: dict[str, Mapping[str, Any]] = {}
    for folder in folders:
        if is_remote(folder):
            system, path = _connect(folder)
            listing = _ask(folder, functools.partial(system.ls, path, detail=True))
            listed |= {system.unstrip_protocol(info["name"]): info for info in listing}
    return [
        _stored(address, listed[address]) if address in listed else stored(address)
        for address in addresses
    ]


def _find_local(pattern: str, kinds: Sequence[str]) -> tuple[list[StoredFile], bool]:
    path = Path(pattern)
    if path.is_dir():
        names = sorted(path.rglob("*"))
        names = [name for name in names if not kinds or kind_of(str(name), kinds) is not None]
    elif path.is_file():
        names = [path]
    else:
        names = [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
    is_many = glob.has_magic(pattern) or path.is_dir()
    return [stored(str(name)) for name in names if name.is_file()], is_many


def _find_remote(pattern: str, kinds: Sequence[str]) -> tuple[list[StoredFile], bool]:
    system, path = _connect(pattern)
    system.invalidate_cache()
    magic = "*[" if pattern.startswith("http") else "*?["  # ? begins the query of an address
    if any(character in pattern for character in magic):
        listed: Mapping[str, Any] = _ask(pattern, lambda: system.glob(path, detail=True))
        names = sorted(name for name in listed if listed[name]["type"] == "file")
        return [_stored(system.unstrip_protocol(name), listed[name]) for name in names], True
    try:
        info = _ask(pattern, lambda: system.info(path))
    except CorpusError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return [], False
        raise
    if info["type"] != "directory":
        return [_stored(pattern, info)], False
    listed = _ask(pattern, lambda: system.find(path, detail=True))
    names = sorted(name for name in listed if not kinds or kind_of(name, kinds) is not None)
    return [_stored(system.unstrip_protocol(name), listed[name]) for name in names], True


def _stored(address: str, info: Mapping[str, Any]) -> StoredFile:
    version = [f"{key}={info[key]}" for key in _VERSION_KEYS if info.get(key)]
    return StoredFile(address, int(info.get("size") or 0), " ".join(version))


def _ask(address: str, question: Any) -> Any:
    """Ask a server, with patience, and turn a clear no into words."""
    try:
        return persist(
            question,
            lambda error: (
                f"{address} cannot be reached: {describe(error)}. Check the address, the "
                "network and the credentials, and run the same command again."
            ),
        )
    except FileNotFoundError as error:
        raise CorpusError(f"No such file: {address}") from error
    except PermissionError as error:
        raise CorpusError(
            f"{address} may not be read: {describe(error)}. Give credentials as the protocol's "
            "package expects them (such as AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS, HF_TOKEN)."
        ) from error


def _connect(address: str) -> tuple[Any, str]:
    """Return fsspec's file system for an address, and the path in it."""
    protocol = address.partition("://")[0]
    core = import_extra("fsspec.core", "fsspec", f"Reading {address}")
    try:
        system, path = core.url_to_fs(address)
    except ImportError as error:
        package = _PACKAGES.get(protocol, "")
        install = f"Run: pip install {package}" if package else str(error)
        raise UserError(
            f"Reading {address} needs {f'the package {package!r}' if package else 'a package'} "
            f"that is not installed. {install}"
        ) from error
    except ValueError as error:
        known = import_extra("fsspec", "fsspec", f"Reading {address}").available_protocols()
        raise CorpusError(
            f"{address}: no protocol of this name is known ({error}). Known are "
            f"{', '.join(sorted(known))}; a path on this machine has no ://."
        ) from error
    return system, path
