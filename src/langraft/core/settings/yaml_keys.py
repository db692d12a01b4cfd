"""The keys and values of a YAML text, and changes to them from the command line.

What PyYAML does not bound is bounded here: the size of a text, how deep it nests and how much it
holds once aliases are written out.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from langraft.core.errors import RecipeError

_MOST_BYTES = 2**20
_MOST_VALUES = 10_000  # keys and values, those of an alias counted wherever it stands
_DEEPEST = 50
_LONGEST_NUMBER = 100  # characters; Python takes minutes for some numbers of a million digits
_REFUSED_CHARACTER = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class _BoundedLoader(yaml.SafeLoader):
    """A YAML loader that refuses what no recipe needs and later steps cannot bear.

    That is repeated keys, of which PyYAML silently keeps the last; keys that are neither text nor
    whole numbers; text with NUL, other control characters or half a character; values that are
    not of their type, for which PyYAML raises anything; aliases that contain themselves; and texts
    that are too deep or too large once aliases are written out.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._num_values = 0
        self._values_of: dict[int, int] = {}  # by id of a node

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark
        is_alias = self.check_event(yaml.AliasEvent)
        before = self._num_values
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _refusal(f"brackets and keys nest more than {_DEEPEST} deep", mark)
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._values_of:
            raise _refusal("an alias (*) stands inside the value that it names", mark)
        self._num_values += self._values_of[id(node)] if is_alias else 1
        if self._num_values > _MOST_VALUES:
            raise _refusal(f"more than {_MOST_VALUES:,} keys and values, aliases written out", mark)
        if not is_alias:
            self._values_of[id(node)] = self._num_values - before
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            raise _refusal(f"a number of more than {_LONGEST_NUMBER} characters", node.start_mark)
        try:
            value: Any = super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError):
            kind = node.tag.rpartition(":")[2]
            given = f"{node.value!r:.80} is" if isinstance(node, yaml.ScalarNode) else "this is"
            raise _refusal(f"{given} no value of YAML's type {kind}", node.start_mark) from None
        if isinstance(value, str) and (found := _REFUSED_CHARACTER.search(value)):
            shown = ascii(found.group())
            raise _refusal(f"the character {shown} cannot be part of a text", node.start_mark)
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key in (k for k, _ in node.value if k.tag != "tag:yaml.org,2002:merge"):
            found: Any = self.construct_object(key, deep=True)
            if not isinstance(found, str) and type(found) is not int:
                hint = f": put it in quotes, '{key.value}'" if isinstance(key.value, str) else ""
                words = f"a key is text, but YAML reads this one as {found!r:.80}{hint}"
                raise _refusal(words, key.start_mark)
            if found in seen:
                raise _refusal(f"the key {found!r:.80} is given twice", node.start_mark)
            seen.add(found)
        return super().construct_mapping(node, deep)


def _refusal(words: str, mark: Any) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, words, mark)


def read_yaml_file(path: Path) -> str:
    """Return the text of a YAML file that a user wrote.

    Raises:
        RecipeError: when it cannot be read, is not UTF-8, or is larger than a mebibyte.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path} cannot be read: {error}.") from None
    if len(content) > _MOST_BYTES:
        raise RecipeError(
            f"{path} is larger than {_MOST_BYTES:,} bytes, so it is no file of settings. Did you "
            "mean another one?"
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} is not UTF-8 text: {error}. Save it as UTF-8.") from None


def parse_yaml(text: str, path: Path | str, advice: str) -> dict[str, Any]:
    """Parse a YAML text of keys and values.

    Args:
        text: Contents of the file.
        path: Its name, for messages.
        advice: Hint for a file without keys.

    Raises:
        RecipeError: when it is not YAML, repeats a key, has no keys, or is too deep or too large.
    """
    try:
        data = _load(text)
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
    if found := _REFUSED_CHARACTER.search(change):
        raise RecipeError(f"--set {change!r}: {found.group()!a} cannot be part of a text.")
    key, separator, text = change.partition("=")
    parts = [p for p in re.split(r"\.|\[(\d+)\]", key.strip()) if p]
    if not separator or not parts:
        raise RecipeError(f"--set {change}: expected key=value, for example stages[0].lr=1e-4.")
    if len(parts) > _DEEPEST:
        raise RecipeError(f"--set {change}: a key has at most {_DEEPEST} parts.")
    try:
        value = _number(_load(text))
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


def _load(text: str) -> Any:
    """Parse YAML.

    Raises:
        YAMLError: for everything that is wrong with the text.
    """
    loader = _BoundedLoader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else loader.construct_object(node, deep=True)
    finally:
        loader.dispose()


def _place(target: Any, part: str, change: str) -> str | int:
    """Return ``part`` as a key of a mapping or an index of a list."""
    if isinstance(target, dict):
        return part
    if not isinstance(target, list):
        raise RecipeError(f"--set {change}: {part!r} is below {target!r}, which has no keys.")
    if not re.fullmatch(r"[0-9]{1,9}", part) or int(part) >= len(target):
        raise RecipeError(
            f"--set {change}: {part!r} is not a place in a list of {len(target)} entries (from 0)."
        )
    return int(part)


def _number(value: Any) -> Any:
    """Read 1e-4 as a number, which YAML 1.1 reads as text because it has no decimal point."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value):
        return float(value)
    return value
