"""The base of everything a recipe can say, and its errors in plain words."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from langraft.core.errors import RecipeError, did_you_mean


class Settings(BaseModel):
    """A frozen group of recipe keys; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


_MULTIPLIERS = {"k": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


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
        return round(float(digits.replace("_", "")) * multiplier)
    except (ValueError, OverflowError):
        raise ValueError("expected a count such as 50000, 200k, 50M, 3B or 1.5T") from None


Count = Annotated[int, BeforeValidator(parse_count)]


def explain(error: ValidationError, model: type[BaseModel], origin: str) -> RecipeError:
    """Say every mistake of a recipe at once: path of the key, what was given, what is allowed."""
    lines = [f"{origin}: {error.error_count()} mistake(s) in the recipe."]
    for mistake in error.errors(include_url=False):
        path = _dotted(mistake["loc"])
        given = mistake["input"]
        if mistake["type"] == "extra_forbidden":
            key = str(mistake["loc"][-1])
            allowed = sorted(_keys_at(model, mistake["loc"][:-1]))
            lines.append(
                f"  {path}: unknown key.{did_you_mean(key, allowed)} Allowed: {', '.join(allowed)}."
            )
        elif mistake["type"] == "missing":
            lines.append(f"  {path}: this key is required.")
        elif mistake["type"] == "literal_error":
            expected = mistake.get("ctx", {}).get("expected", "")
            words = expected.replace("'", "").replace(" or ", ", ").split(", ")
            lines.append(
                f"  {path}: given {given!r}; allowed: {expected}.{did_you_mean(str(given), words)}"
            )
        else:
            message = mistake["msg"].removeprefix("Value error, ")
            shown = "" if isinstance(given, Mapping | BaseModel) else f"given {given!r}; "
            lines.append(f"  {path}: {shown}{message}.")
    return RecipeError("\n".join(lines))


def _dotted(location: Iterable[int | str]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.lstrip(".") or "recipe"


def _keys_at(model: type[BaseModel], location: Iterable[int | str]) -> set[str]:
    """Return the keys that the settings at this location know."""
    found = [model]
    for part in location:
        inner = [m for m in found if isinstance(part, str) and part in m.model_fields]
        if inner:
            found = [
                child for m in inner for child in _models_in(m.model_fields[str(part)].annotation)
            ]
        elif isinstance(part, str):
            found = [m for m in found if m.__name__ == part] or found
    return {key for m in found for key in m.model_fields}


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is not None:
        return [m for part in typing.get_args(annotation) for m in _models_in(part)]
    return []
