"""Requests to fsspec's file systems: which files an address means, and what servers answer."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from langraft.core.errors import CorpusError, UserError
from langraft.corpus.reading.optional_packages import import_extra
from langraft.corpus.reading.retry import describe_error, retry

_Info = Mapping[str, Any]  # what a file system says of a file


def find_remote(
    address: str, is_wanted: Callable[[str], bool]
) -> tuple[list[tuple[str, _Info]], bool]:
    """Return the files that an address means, with what is known of them; and if it may be many.

    As for local paths, an address that exists means itself, any other is a glob, a folder means all
    files below it, and names that begin with a dot are hidden from both.

    Args:
        address: Of a file or folder, or a glob.
        is_wanted: Says whether a file of a folder is read; what a glob matches always is.

    Raises:
        CorpusError: when the server cannot be reached or does not permit it.
    """
    system, path = file_system(address)
    system.invalidate_cache()
    # After the host, which may be [::1]; in https:// a ? begins the query.
    magic = r"[*\[]" if _is_http(address) else r"[*?\[]"
    found = re.search(magic, _below_host(path))
    info = None if found and found[0] != "[" else _info(system, address, path)
    if info is not None and info["type"] != "directory":
        return [(address, info)], False
    if info is None and not found:
        return [], False
    if info is not None:
        listed = {name: i for name, i in _below(system, path, None).items() if is_wanted(name)}
    else:
        listed = _glob(system, path, magic)
    files = {system.unstrip_protocol(n): i for n, i in listed.items() if i["type"] == "file"}
    is_hidden_wanted = "/." in address.partition("://")[2]
    fixed = len(address.rstrip("/")) if info is not None else 0
    names = sorted(name for name in files if is_hidden_wanted or "/." not in name[fixed:])
    return [(name, files[name]) for name in names], True


def request(address: str, ask: Callable[[], Any]) -> Any:
    """Ask a server, with retries.

    Raises:
        CorpusError: for a missing file (its cause is a FileNotFoundError), for a missing
            permission, or when the last attempt failed.
    """
    try:
        return retry(
            ask,
            lambda error: (
                f"{address} cannot be reached: {describe_error(error)}. Check the address, the "
                "network and the credentials, and run the same command again."
            ),
        )
    except FileNotFoundError as error:
        raise CorpusError(f"No such file: {address}") from error
    except PermissionError as error:
        raise CorpusError(
            f"{address} may not be read: {describe_error(error)}. Give credentials as the package "
            "for the protocol expects them (such as AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS, "
            "HF_TOKEN)."
        ) from error


def file_system(address: str) -> tuple[Any, str]:
    """Return fsspec's file system for an address, and the path in it.

    Raises:
        CorpusError: for an unknown protocol.
        MissingExtraError: when fsspec is not installed.
        UserError: when the package for the protocol is not installed.
    """
    core = import_extra("fsspec.core", "fsspec", f"Reading {address}")
    try:
        if _is_http(address):  # not chained at the :: of http://[::1]
            return core.filesystem(address.partition(":")[0]), address
        system, path = core.url_to_fs(address)
    except ImportError as error:
        raise UserError(
            f"Reading {address} needs a missing package: {error}. Install it with pip."
        ) from error
    except ValueError as error:
        known = import_extra("fsspec", "fsspec", f"Reading {address}").available_protocols()
        raise CorpusError(
            f"{address}: unknown protocol ({error}). Known are {', '.join(sorted(known))}; a path "
            "on this machine has no ://."
        ) from error
    return system, path


def _is_http(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def _below_host(path: str) -> str:
    return path.partition("://")[2].partition("/")[2] if "://" in path else path


def _info(system: Any, address: str, path: str) -> _Info | None:
    try:
        return request(address, lambda: system.info(path))
    except CorpusError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return None
        raise


def _glob(system: Any, pattern: str, magic: str) -> Mapping[str, _Info]:
    """Return what a glob matches."""
    if _lists_all(system):
        address = system.unstrip_protocol(pattern)
        return request(address, lambda: system.glob(pattern, detail=True))
    below = _below_host(pattern)
    fixed = re.split(magic, below, maxsplit=1)[0].rpartition("/")[0]
    depth = None if "**" in below else below.removeprefix(fixed).strip("/").count("/")
    top = pattern.removesuffix(below) + fixed
    translate = import_extra("fsspec.utils", "fsspec", f"Reading {pattern}").glob_translate
    matches = re.compile(translate(pattern)).match
    listed = _below(system, f"{top}/" if _is_http(top) else top, depth)
    return {name: info for name, info in listed.items() if matches(name)}


def _below(system: Any, top: str, depth: int | None) -> Mapping[str, _Info]:
    """Return the files below a folder, down to a depth (None: all)."""
    if _lists_all(system):
        return request(system.unstrip_protocol(top), lambda: system.find(top, detail=True))
    files: dict[str, _Info] = {}
    waiting, seen = [(top, 0)], {top}
    while waiting:
        folder, level = waiting.pop()
        ask = functools.partial(system.ls, folder, detail=True)
        try:
            listed: list[_Info] = request(system.unstrip_protocol(folder), ask)
        except CorpusError as error:
            if folder == top and isinstance(error.__cause__, FileNotFoundError):
                return {}
            raise
        for info in listed:
            name = str(info["name"])
            if info["type"] == "file":
                files[name] = info
            elif name not in seen and "/./" not in name and (depth is None or level < depth):
                seen.add(name)
                waiting.append((name, level + 1))
    return files


def _lists_all(system: Any) -> bool:
    """Say whether a file system lists folders with all below them, as object stores do.

    For the others fsspec walks, and leaves out the folders that a server does not list.
    """
    asynchronous = import_extra("fsspec.asyn", "fsspec", "Reading addresses").AsyncFileSystem
    plain = import_extra("fsspec.spec", "fsspec", "Reading addresses").AbstractFileSystem
    find = getattr(type(system), "_find", type(system).find)
    return find not in (asynchronous._find, plain.find)
