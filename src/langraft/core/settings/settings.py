"""The base class of all settings, counts such as 3B, and validation errors in plain words."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from langraft.core.errors import RecipeError, did_you_mean


class Settings(BaseModel):
    """A frozen group of recipe keys that refuses unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False
    )


_MULTIPLIERS = {"k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_LARGEST_COUNT = 2**63 - 1  # what an array of counts can hold


def parse_count(given: object) -> object:
    """Turn ``"3B"``, ``"1.5M"`` or ``"200k"`` into an integer; leave numbers alone.

    Raises:
        ValueError: when a text is neither a number nor a number with k, M, B or T.
    """
    if not isinstance(given, str):
        return given
    multiplier = _MULTIPLIERS.get(given[-1:], 1)
    digits = given[:-1] if multiplier > 1 else given
    try:
        count = Decimal(digits.replace("_", "")) * multiplier
        if abs(count) <= _LARGEST_COUNT:
            return round(count)
    except (ArithmeticError, ValueError):
        pass
    raise ValueError("expected a count such as 50000, 200k, 50M, 3B or 1.5T")


# Numbers of a recipe. Each has an upper limit that its use can bear: the one here, or for Count one
# of its own (pydantic keeps only one); tests/core/test_limits.py refuses a number without.
Count = Annotated[int, BeforeValidator(parse_count)]
TokenCount = Annotated[int, Field(le=10**15), BeforeValidator(parse_count)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what every generator takes
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(gt=0, le=10**9)]


_MOST_MISTAKES = 30  # in one message
_MOST_CHARACTERS = 200  # of a value in a message
_MESSAGES = {
    "tuple_type": "a list is expected, in square brackets",
    "list_type": "a list is expected, in square brackets",
    "model_type": "keys and values are expected, in braces; {} for the defaults",
    "dict_type": "keys and values are expected, in braces; {} for the defaults",
    "too_short": "at least one entry is needed",
    "invalid_key": "a key is text: put it in quotes",
    "int_parsing": "a whole number is expected",
    "int_parsing_size": "the number is too large",
}


def explain(
    error: ValidationError, model: type[BaseModel], data: object, origin: str, noun: str = "recipe"
) -> RecipeError:
    """Return one error with every mistake: path of the key, what was given, what is allowed.

    Args:
        error: Raised by pydantic.
        model: The settings, for the names of allowed keys.
        data: The data that was validated.
        origin: File that the data came from.
        noun: What the file is.
    """
    lines = [f"{origin}: the {noun} cannot be run."]
    mistakes = error.errors(include_url=False)
    shown = [m for m in mistakes[:1000] if not _follows_from_others(m, mistakes[:1000])]
    for mistake in shown[:_MOST_MISTAKES]:
        path = _dotted(mistake["loc"], data, mistake["type"] == "missing")
        message = _message(mistake, model, has_path=path != "")
        lines.append(f"  {path}: {message}" if path else f"  {message}")
    if len(shown) > _MOST_MISTAKES:
        lines.append(f"  and {len(mistakes) - _MOST_MISTAKES:,} more mistakes.")
    return RecipeError("\n".join(dict.fromkeys(lines)))


def first_mistake(error: ValidationError) -> str:
    """Return what is wrong with a single value, for messages that name it themselves."""
    return _own_words(error.errors(include_url=False)[0])


def _own_words(mistake: ErrorDetails) -> str:
    return mistake["msg"].removeprefix("Value error, ")


def _follows_from_others(mistake: ErrorDetails, mistakes: Sequence[ErrorDetails]) -> bool:
    """Return whether pydantic reports a mistake only because of another one.

    It counts a list's entries without the refused ones; and where a name or a group of keys is
    allowed and keys were given, it also misses the name.
    """
    place = mistake["loc"]
    if mistake["type"] == "string_type" and isinstance(mistake["input"], Mapping):
        place = place[:-1]
    elif mistake["type"] != "too_short":
        return False
    return any(o["loc"][: len(place)] == place and o is not mistake for o in mistakes)


def _message(mistake: ErrorDetails, model: type[BaseModel], *, has_path: bool) -> str:
    """Return what was given, what is allowed and the nearest allowed word."""
    kind, given, context = mistake["type"], mistake["input"], mistake.get("ctx", {})
    if kind == "extra_forbidden":
        allowed = sorted(_keys_at(model, mistake["loc"][:-1]))
        meant = did_you_mean(str(mistake["loc"][-1]), allowed)
        return f"unknown key.{meant} Allowed: {', '.join(allowed)}."
    if kind == "missing":
        return "this key is required."
    if kind == "union_tag_not_found":
        return f"the key {context['discriminator']} is required."
    if kind in ("literal_error", "union_tag_invalid"):
        expected = str(context.get("expected", context.get("expected_tags")))
        given = context.get("tag", given)
        words = expected.replace("'", "").replace(" or ", ", ").split(", ")
        return f"given {_shown(given)}; allowed: {expected}.{did_you_mean(str(given), words)}"
    message = _MESSAGES.get(kind, _own_words(mistake).rstrip("."))
    if kind == "string_type":
        message = _text_expected(given)
    if has_path and not isinstance(given, Mapping | BaseModel):
        message = f"given {_shown(given)}; {message}"
    return message if message.endswith("?") else f"{message}."


def _shown(given: object) -> str:
    """Return a value as a message shows it, not longer than a few lines."""
    text = repr(given)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."


def _text_expected(given: object) -> str:
    """Return what is wrong with a value that should be text: often YAML's reading of it."""
    if isinstance(given, bool):
        words = "yes, on and true" if given else "no, off and false"
        quoted = "'yes'" if given else "'no'"
        return f"YAML reads {words} as {given}, and text is expected: put it in quotes, {quoted}"
    if isinstance(given, int | float | date):
        kind = "date" if isinstance(given, date) else "number"
        return f"YAML reads this as a {kind}, and text is expected: put it in quotes"
    return "text is expected"


def _dotted(location: Sequence[int | str], data: object, is_missing: bool) -> str:
    """Return a pydantic location as the user's own keys, without pydantic's union tags."""
    path = ""
    for depth, part in enumerate(location):
        if isinstance(part, int):
            path += f"[{part}]"
            data = data[part] if isinstance(data, list | tuple) and part < len(data) else None
        elif isinstance(data, Mapping) and part in data:
            path += f".{part:.{_MOST_CHARACTERS}}"
            data = data[part]
        elif is_missing and depth == len(location) - 1:
            path += f".{part}"
    return path.lstrip(".")


def _keys_at(model: type[BaseModel], location: Sequence[int | str]) -> set[str]:
    """Return the keys that are allowed at a pydantic location."""
    found = [model]
    for part in location:
        if isinstance(part, int):
            continue
        parents = [m for m in found if part in m.model_fields]
        if parents:
            found = [c for m in parents for c in _models_in(m.model_fields[part].annotation)]
        else:  # a union tag: the name of a class, or the default of its discriminator
            found = [m for m in found if part == m.__name__ or _has_default(m, part)]
    return {key for m in found for key in m.model_fields}


def _has_default(model: type[BaseModel], tag: str) -> bool:
    return any(field.default == tag for field in model.model_fields.values())


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        return [m for part in typing.get_args(annotation) for m in _models_in(part)]
    return []
