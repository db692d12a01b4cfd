"""The keys and values of a YAML text, and changes to them from the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from langraft.core.errors import RecipeError


class _UniqueKeys(yaml.SafeLoader):
    """YAML without keys given twice, of which the first would be dropped silently."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key, deep=True) for key in own]
        twice = [key for number, key in enumerate(keys) if key in keys[:number]]
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {twice[0]!r} stands there twice", node.start_mark
            )
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, path: Path | str, advice: str) -> dict[str, Any]:
    """Return the keys and values of a YAML text.

    Args:
        text: What the file holds.
        path: Its name, for messages.
        advice: How such a file begins.

    Raises:
        RecipeError: when it is no YAML, has a key twice, or holds no keys.
    """
    try:
        data = yaml.load(text, _UniqueKeys)
    except yaml.YAMLError as error:
        raise RecipeError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(data, dict):
        raise RecipeError(f"{path} holds {type(data).__name__}, not keys and values. {advice}")
    return data


def change_key(data: dict[str, Any], change: str) -> None:
    """Set one key of parsed YAML, given as ``key=value`` with a dotted key and a YAML value.

    Raises:
        RecipeError: when it is not of that form, or the key lies where no key can be.
    """
    key, separator, text = change.partition("=")
    parts = [p for p in re.split(r"\.|\[(\d+)\]", key.strip()) if p]
    if not separator or not parts:
        raise RecipeError(f"--set {change}: expected key=value, for example stages[0].lr=1e-4.")
    try:
        value = _number(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise RecipeError(f"--set {change}: the value is not valid YAML: {error}") from None
    target: Any = data
    for part in parts[:-1]:
        place: Any = _place(target, part, change)
        inner = target[place] if isinstance(target, list) else target.get(place)
        if inner is None:
            inner = {}
        elif isinstance(inner, str) and (part == "method" or parts[0] == "baselines"):
            inner = {"name": inner}  # a bare method name stands for its group of keys
        target[place] = inner
        target = inner
    target[_place(target, parts[-1], change)] = value


def _place(target: Any, part: str, change: str) -> str | int:
    """Return the key or index that ``part`` is in ``target``."""
    if isinstance(target, dict):
        return part
    if not isinstance(target, list):
        raise RecipeError(f"--set {change}: {part!r} is below {target!r}, which has no keys.")
    if not re.fullmatch(r"[0-9]+", part) or int(part) >= len(target):
        raise RecipeError(
            f"--set {change}: {part!r} is not a place in a list of {len(target)} entries (from 0)."
        )
    return int(part)


def _number(value: Any) -> Any:
    """Read 1e-4 as the number it is meant to be; YAML 1.1 wants 1.0e-4."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value
