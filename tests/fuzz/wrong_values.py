"""What a fuzz gives where a value belongs, and the schema of a recipe as paths of keys."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st

NAMES = (
    *("", " ", ".", "..", "no", "base", "el", "zh-Hant", "files", "moe_lpr", "auto", "polylm"),
    *("{language}", "{", "{0.x}", "[el", "a/b", "a" * 300, "é\u0301", "\U0001f642", "%s", "-1"),
    *("3B", "1e-4", "1e999", "~", "x\ny", "data/{language}.jsonl", "x", "extend", "wiki"),
)
BROKEN = ("\x00", "\ud800", "\x1b[2J")
NUMBERS = (
    *(0, -1, 1, 2, 7, 8, 1000, 2**31, 2**63, 2**64, 10**30, -(2**63), 10**90),
    *(0.0, -0.0, 0.5, 1.0, 1e-320, 1e30, 1e308, float("inf"), float("nan"), 1 / 3),
)

scalars: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(NAMES + BROKEN),
    st.sampled_from(NUMBERS),
    st.sampled_from([None, True, False]),
    st.text(max_size=8),
    st.integers(),
    st.floats(),
)
junk: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.integers(0, 3), inner, max_size=3)
    ),
    max_leaves=5,
)


def near(schema: dict[str, Any], defs: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Draw values of a schema's type, within its limits or not; sometimes any other value."""
    if "$ref" in schema:
        return near(defs[schema["$ref"].rpartition("/")[2]], defs)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return st.one_of(*(near(each, defs) for each in schema[key]))
    if "const" in schema or "enum" in schema:
        return st.sampled_from(schema.get("enum", [schema.get("const")]))
    kinds: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "integer": lambda: st.integers(_least(schema), _least(schema) + 64) | _limits(schema),
        "number": lambda: st.floats(_least(schema), _least(schema) + 2) | _limits(schema),
        "boolean": st.booleans,
        "null": st.none,
        "array": lambda: st.lists(near(schema.get("items", {}), defs), max_size=3),
        "object": lambda: _objects(schema, defs),
    }
    return kinds.get(schema.get("type", ""), lambda: st.sampled_from(NAMES))()


def _least(schema: dict[str, Any]) -> int:
    return int(schema.get("minimum", schema.get("exclusiveMinimum", 0)))


def _limits(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Draw numbers at a schema's limits and beyond."""
    limits = [schema[key] for key in ("minimum", "maximum") if key in schema]
    return st.sampled_from(limits or NUMBERS) | st.sampled_from(NUMBERS)


def _objects(schema: dict[str, Any], defs: dict[str, Any]) -> st.SearchStrategy[Any]:
    keys: dict[str, Any] = schema.get("properties", {})
    if not keys:
        inner = schema.get("additionalProperties")
        values = near(inner, defs) if isinstance(inner, dict) else junk
        return st.dictionaries(
            st.sampled_from(["en", "el", "hu"]) | st.sampled_from(NAMES), values, max_size=3
        )
    required = schema.get("required", ())
    every = {key: st.deferred(lambda key=key: near(keys[key], defs)) for key in keys}
    return st.fixed_dictionaries(
        {key: every[key] for key in every if key in required},
        optional={key: every[key] for key in every if key not in required},
    )


def places(schema: dict[str, Any], defs: dict[str, Any]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Yield every key of a schema as a path, list entries as 0, with the schema of its value."""
    if "$ref" in schema:
        yield from places(defs[schema["$ref"].rpartition("/")[2]], defs)
    for key in ("anyOf", "oneOf"):
        for each in schema.get(key, ()):
            yield from places(each, defs)
    for key, inner in schema.get("properties", {}).items():
        yield (key,), inner
        yield from (((key, *path), found) for path, found in places(inner, defs))
    if isinstance(schema.get("items"), dict):
        yield from (((0, *path), found) for path, found in places(schema["items"], defs))


def put(data: Any, path: tuple[Any, ...], value: Any) -> None:
    """Set a value of nested keys; where the data has other kinds of values, replace these."""
    for part, following in itertools.pairwise(path):
        if isinstance(part, int) and not data:
            data.append({})
        inner = data[part] if isinstance(part, int) else data.get(part)
        wanted = list if isinstance(following, int) else dict
        if not isinstance(inner, wanted):
            inner = wanted()
            data[part] = inner
        data = inner
    if isinstance(path[-1], int) and not data:
        data.append(value)
    else:
        data[path[-1]] = value


@contextmanager
def within_ten_seconds() -> Generator[None]:
    """Fail when the block computes for more than ten seconds."""
    started = time.process_time()
    yield
    assert time.process_time() - started < 10
