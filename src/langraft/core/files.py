"""Read, write and hash files: whole or not at all, and with clear messages about the disk."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, from_json

from langraft.core.errors import ArtifactError, UserError

RUN_AGAIN = "Delete it; the step will run again."
_MAX_SHOWN = 60  # characters of a value in a message
Schema = TypeVar("Schema")


def fingerprint(value: object) -> str:
    """Return the SHA-256 of a JSON-able value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_sha256_once(path: Path) -> str:
    """Return a file's SHA-256, cached in this process until its size or time changes."""
    stat = path.stat()
    return _sha256_of_version(path.resolve(), stat.st_size, stat.st_mtime_ns)


@functools.cache
def _sha256_of_version(path: Path, num_bytes: int, modified_ns: int) -> str:
    return file_sha256(path)


@contextlib.contextmanager
def partial_file(path: Path) -> Generator[Path]:
    """Yield where to write a file, which then takes the place of ``path``, or goes after an error.

    Nothing is there at first, not even a link that a killed process or somebody else left.
    """
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        yield partial
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file atomically: temporary file, flush to disk, rename."""
    with partial_file(path) as partial, partial.open("x", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically."""
    write_text(path, json_text(value))


def json_text(value: object) -> str:
    """Return JSON as ``write_json`` writes it."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def read_json(
    path: Path,
    schema: type[Schema],
    *,
    error: type[UserError] = ArtifactError,
    advice: str = RUN_AGAIN,
) -> Schema:
    """Read a JSON file and check it: nothing else in langraft reads one.

    Args:
        path: The file.
        schema: Type of what it holds: a dataclass, a TypedDict or ``dict[str, Any]``, with the keys
            that are used; others are ignored.
        error: Class to raise.
        advice: What to do about a file that is damaged.

    Returns:
        The content as the schema's type; nothing is converted, so ``"1"`` is no number.

    Raises:
        UserError: of the class given, when the file is missing, cannot be read, is no JSON or does
            not fit the schema; names the key, what it holds and what is expected.
    """
    return parse_json(_read_bytes(path, error, advice), schema, path, error=error, advice=advice)


def read_json_object(
    path: Path,
    schema: type[object],
    *,
    error: type[UserError] = ArtifactError,
    advice: str = RUN_AGAIN,
) -> dict[str, Any]:
    """Check a JSON file as ``read_json`` does, but return the whole object as it is.

    For files whose other keys are handed on.

    Raises:
        UserError: as ``read_json`` does.
    """
    data = _read_bytes(path, error, advice)
    parse_json(data, schema, path, error=error, advice=advice)
    return parse_json(data, dict[str, Any], path, error=error, advice=advice)


def read_json_lines(
    path: Path,
    schema: type[Schema],
    *,
    error: type[UserError] = ArtifactError,
    advice: str = RUN_AGAIN,
) -> Iterator[Schema]:
    """Yield the records of a file with one JSON value a line, each checked as by ``read_json``.

    Lines are read when they are asked for; blank ones are skipped.

    Raises:
        UserError: as ``read_json`` does; names the line.
    """
    with _explain_unreadable(path, error, advice), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield parse_json(line, schema, f"{path}:{number}", error=error, advice=advice)


def parse_json(
    data: bytes | str,
    schema: type[Schema],
    place: Path | str,
    *,
    error: type[UserError] = ArtifactError,
    advice: str = RUN_AGAIN,
) -> Schema:
    """Return the JSON in some bytes, checked as by ``read_json``.

    Args:
        data: UTF-8.
        schema: Type of what it holds.
        place: Where it was found, for the message.
        error: Class to raise.
        advice: What to do about it.

    Raises:
        UserError: of the class given, when it is no JSON or does not fit the schema.
    """
    try:
        return _adapter(schema).validate_json(data, strict=True)
    except ValidationError as cause:
        raise error(f"{place} {_describe(cause, data)}. {advice}") from None


@functools.cache
def _adapter(schema: type[Schema]) -> TypeAdapter[Schema]:
    return TypeAdapter(schema)


def _read_bytes(path: Path, error: type[UserError], advice: str) -> bytes:
    with _explain_unreadable(path, error, advice):
        return path.read_bytes()


@contextlib.contextmanager
def _explain_unreadable(path: Path, error: type[UserError], advice: str) -> Generator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise error(
            f"{path} does not exist. Give the folder of a finished step, or run it first."
        ) from None
    except OSError as cause:
        raise error(f"{path} cannot be read: {cause.strerror}. {advice}") from None


def _describe(error: ValidationError, data: bytes | str) -> str:
    """Return what is wrong: the key, what it holds, what is expected.

    Where a key may be of several types, the faults of all count as one; the deepest is told, as
    the type that it belongs to is the one that was meant.
    """
    faults = error.errors(include_url=False, include_context=False)
    if faults[0]["type"] == "json_invalid":
        return f"is damaged ({faults[0]['msg']})"
    content = from_json(data)
    paths = [_path_in(content, fault) for fault in faults]
    deepest = max(paths, key=len)
    key = ".".join(map(str, deepest))
    told = [fault for fault, path in zip(faults, paths, strict=True) if path == deepest]
    if told[0]["type"] == "missing":
        return f"lacks the key {key}"
    expected = dict.fromkeys(fault["msg"].removeprefix("Input should be ") for fault in told)
    at = f" under {key}" if key else ""
    return f"holds {_shorten(told[0]['input'])}{at}; it should be {' or '.join(expected)}"


def _path_in(content: Any, fault: ErrorDetails) -> tuple[int | str, ...]:
    """Return the keys of a fault's location; the names of types in it are no keys."""
    path: list[int | str] = []
    for number, part in enumerate(fault["loc"], start=1):
        inner: Any = dict(enumerate(content)) if isinstance(content, list) else content
        if isinstance(inner, dict) and part in inner:
            content = inner[part]
        elif fault["type"] != "missing" or number < len(fault["loc"]):
            continue
        path.append(part)
    return tuple(path)


def _shorten(value: object) -> str:
    """Return a JSON value in words."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    written = json.dumps(value, ensure_ascii=False, default=str)
    return written if len(written) <= _MAX_SHOWN else written[:_MAX_SHOWN] + "..."
