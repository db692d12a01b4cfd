"""The base of everything a recipe can say, and its errors in plain words."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from langraft.core.errors import RecipeError, did_you_mean


class Settings(BaseModel):
    """A frozen group of recipe keys; unknown keys are refused."""

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


Count = Annotated[int, BeforeValidator(parse_count)]
Share = Annotated[float, Field(ge=0, le=1)]


def explain(
    error: ValidationError, model: type[BaseModel], data: object, origin: str, noun: str = "recipe"
) -> RecipeError:
    """Say every mistake at once: path of the key, what was given, what is allowed.

    Args:
        error: Of pydantic.
        model: Whose keys are known.
        data: What was given.
        origin: File that it stood in.
        noun: What the file is.
    """
    lines = [f"{origin}: the {noun} cannot be run."]
    mistakes = error.errors(include_url=False)
    for mistake in mistakes:
        if mistake["type"] == "too_short" and any(
            other["loc"][: len(mistake["loc"])] == mistake["loc"] and other is not mistake
            for other in mistakes
        ):
            continue  # pydantic drops refused entries and then counts too few
        union = mistake["loc"][:-1]
        if (
            mistake["type"] == "string_type"
            and isinstance(mistake["input"], Mapping)
            and any(o is not mistake and o["loc"][: len(union)] == union for o in mistakes)
        ):
            continue  # a name or a group of keys, given as keys: those are judged
        path = _dotted(mistake["loc"], data, mistake["type"] == "missing")
        given = mistake["input"]
        context = mistake.get("ctx", {})
        if mistake["type"] == "extra_forbidden":
            key = str(mistake["loc"][-1])
            allowed = sorted(_keys_at(model, mistake["loc"][:-1]))
            lines.append(
                f"  {path}: unknown key.{did_you_mean(key, allowed)} Allowed: {', '.join(allowed)}."
            )
        elif mistake["type"] == "missing":
            lines.append(f"  {path}: this key is required.")
        elif mistake["type"] == "union_tag_not_found":
            lines.append(f"  {path}: the key {context['discriminator']} is required.")
        elif mistake["type"] in ("literal_error", "union_tag_invalid"):
            expected = str(context.get("expected", context.get("expected_tags")))
            given = context.get("tag", given)
            words = expected.replace("'", "").replace(" or ", ", ").split(", ")
            lines.append(
                f"  {path}: given {given!r}; allowed: {expected}.{did_you_mean(str(given), words)}"
            )
        else:
            message = mistake["msg"].removeprefix("Value error, ").rstrip(".")
            if mistake["type"] in ("tuple_type", "list_type"):
                message = "a list is expected, in square brackets"
            elif mistake["type"] in ("model_type", "dict_type"):
                message = "keys and values are expected, in braces; {} for the defaults"
            elif mistake["type"] == "too_short":
                message = "at least one entry is needed"
            shown = "" if isinstance(given, Mapping | BaseModel) else f"given {given!r}; "
            end = "" if message.endswith("?") else "."
            lines.append(
                f"  {path}{message}{end}" if path == "" else f"  {path}: {shown}{message}{end}"
            )
    return RecipeError("\n".join(dict.fromkeys(lines)))


def _dotted(location: Sequence[int | str], data: object, is_missing: bool) -> str:
    """Write a pydantic location as the user's own keys, without pydantic's union tags."""
    path = ""
    for depth, part in enumerate(location):
        if isinstance(part, int):
            path += f"[{part}]"
            data = data[part] if isinstance(data, list | tuple) and part < len(data) else None
        elif isinstance(data, Mapping) and part in data:
            path += f".{part}"
            data = data[part]
        elif is_missing and depth == len(location) - 1:
            path += f".{part}"
    return path.lstrip(".")


def _keys_at(model: type[BaseModel], location: Sequence[int | str]) -> set[str]:
    """Return the keys that the settings at this location know."""
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
