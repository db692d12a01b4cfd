"""Local and remote files: finding, opening and describing what a path or fsspec address names.

A path without a protocol is read without fsspec. Everything else (``s3://``, ``gs://``,
``https://``, ``hf://``, ``memory://``) is read by fsspec, with the credentials its packages find.
"""

from __future__ import annotations

import functools
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langraft.core.errors import CorpusError
from langraft.core.files import fingerprint
from langraft.corpus.reading.paths import check_path, explain_read_errors, find_paths
from langraft.corpus.reading.remote import file_system, find_remote, request
from langraft.corpus.reading.retry import RetryingFile

COMPRESSIONS = (".gz", ".zst")
_PROTOCOL = re.compile(r"[a-z][a-z0-9+.-]+://")
_VERSION_KEYS = (  # of what file systems say of a file
    *("ETag", "etag", "Content-MD5", "md5Hash", "checksum", "blob_id"),
    *("LastModified", "Last-Modified", "last_modified", "updated", "mtime", "created"),
)
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A local or remote file, not opened.

    Attributes:
        address: Path or fsspec address.
        num_bytes: Size as stored; 0 when the server does not say.
        version: Changes when the content may have changed: times, checksums, entity tags.
    """

    address: str
    num_bytes: int
    version: str


def fingerprint_stored(files: Iterable[StoredFile]) -> str:
    """Return a hash of the names, sizes and versions of files."""
    return fingerprint([(file.address, file.num_bytes, file.version) for file in files])


def is_remote(address: str) -> bool:
    """Say whether this is an fsspec address and not a path."""
    return _PROTOCOL.match(address) is not None


def path_or_address(address: str) -> Path | str:
    """Return a path as a Path and an address unchanged, as broken records name files."""
    return address if is_remote(address) else Path(address)


def suffixes_of(address: str) -> list[str]:
    """Return the suffixes of a file's name in small letters: ``A.TXT.gz`` has .txt and .gz."""
    name = address.partition("?")[0] if is_remote(address) else address  # https://…/a.jsonl?raw=1
    return [suffix.lower() for suffix in Path(name).suffixes]


def file_kind(address: str, kinds: Sequence[str]) -> str | None:
    """Return the suffix among ``kinds`` that a file has before a compression suffix, or None.

    Parquet compresses inside the file, so ``.parquet.gz`` is not a kind.
    """
    suffixes = suffixes_of(address)
    if suffixes and suffixes[-1] in COMPRESSIONS:
        kinds = [kind for kind in kinds if kind != ".parquet"]
        suffixes = suffixes[:-1]
    return suffixes[-1] if suffixes and suffixes[-1] in kinds else None


def find_files(
    pattern: str, kinds: Sequence[str], requested_by: str, noun: str = "file"
) -> list[StoredFile]:
    """Return the files that a path, address, folder or glob means, sorted by name.

    Everything that takes a path of text asks here; ``paths.py`` has the rule.

    Args:
        pattern: Without placeholders.
        kinds: Suffixes that can be read; other files of a folder are skipped. Empty: all.
        requested_by: For messages, such as ``corpus source `files`, language el``.
        noun: What is looked for, for messages.

    Raises:
        CorpusError: when nothing matches, a link leads nowhere, something may not be read, an
            address cannot be reached, or a file is of no kind.
        MissingExtraError: when fsspec is not installed.
        UserError: when the package for a protocol is not installed.
    """
    check_path(pattern, requested_by)
    readable = f"{', '.join(kinds)}, also with {' or '.join(COMPRESSIONS)}"

    def is_wanted(address: str) -> bool:
        return not kinds or file_kind(address, kinds) is not None

    if is_remote(pattern):
        listed, is_many = find_remote(pattern, is_wanted)
        found = [_stored_file(address, info) for address, info in listed]
        seen_from = ""
    else:
        paths, is_many = find_paths(pattern, is_wanted)
        found = [stat_file(path) for path in paths]
        seen_from = f"; seen from {Path.cwd()}"
    if not found:
        brackets = " [...] stands for one of several characters, [[] for a bracket."
        raise CorpusError(
            f"No {f'{noun} matches' if is_many else f'such {noun}:'} {pattern} ({requested_by}"
            f"{seen_from}).{f' Readable are {readable}.' if kinds else ''}"
            f"{brackets if is_many and '[' in pattern else ''}"
        )
    for file in found:
        if kinds and file_kind(file.address, kinds) is None:
            raise CorpusError(
                f"{file.address}: cannot tell what kind of file this is. Its name must end in "
                f"{readable}."
            )
    return found


def relative_name(address: str, pattern: str) -> str:
    """Return a file's name relative to the part of the pattern before the first wildcard."""
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


def open_raw(address: str) -> io.BufferedReader:
    """Open a file's bytes as stored (still compressed), buffered; a remote file reconnects.

    Raises:
        CorpusError: when it is missing, a folder, may not be read or cannot be reached.
    """
    if not is_remote(address):
        with explain_read_errors(address):
            return io.BufferedReader(io.FileIO(address), _BLOCK_BYTES)
    system, path = file_system(address)
    first = stat_file(address)
    is_reconnecting = False

    def connect() -> Any:
        nonlocal is_reconnecting
        if is_reconnecting:
            system.invalidate_cache()
            if _stored_file(address, system.info(path)) != first:
                raise CorpusError(
                    f"{address} has changed while it was read. Run the same command again."
                )
        is_reconnecting = True
        return system.open(path, "rb")

    return io.BufferedReader(RetryingFile(address, connect, first.num_bytes), _BLOCK_BYTES)


def is_empty(address: str) -> bool:
    """Say whether a file has no bytes at all."""
    if stat_file(address).num_bytes:
        return False
    with open_raw(address) as file:  # a server may not say the size
        return not file.peek(1)


def stat_file(address: str) -> StoredFile:
    """Return one file's size and version.

    Raises:
        CorpusError: when it is missing or cannot be reached.
    """
    if not is_remote(address):
        with explain_read_errors(address):
            status = os.stat(address)
        return StoredFile(address, status.st_size, str(status.st_mtime_ns))
    system, path = file_system(address)
    return _stored_file(address, request(address, lambda: system.info(path)))


def stat_files(addresses: Sequence[str]) -> list[StoredFile]:
    """Return sizes and versions of many files, with one request per folder, not per file.

    Raises:
        CorpusError: when one is missing or cannot be reached.
    """
    folders = dict.fromkeys(address.rpartition("/")[0] for address in addresses)
    listed: dict[str, Mapping[str, Any]] = {}
    for folder in folders:
        if is_remote(folder):
            system, path = file_system(folder)
            listing = request(folder, functools.partial(system.ls, path, detail=True))
            listed |= {system.unstrip_protocol(info["name"]): info for info in listing}
    return [
        _stored_file(address, listed[address]) if address in listed else stat_file(address)
        for address in addresses
    ]


def _stored_file(address: str, info: Mapping[str, Any]) -> StoredFile:
    version = [f"{key}={info[key]}" for key in _VERSION_KEYS if info.get(key)]
    return StoredFile(address, int(info.get("size") or 0), " ".join(version))
