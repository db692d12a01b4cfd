"""reference/recipe.md: every key that a recipe may have."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from typing import Any, Literal

from annotated_types import Ge, Gt, Le, MaxLen, MinLen
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from langraft.core.settings.parse import recipe_model
from langraft.core.settings.recipe import Recipe
from langraft.core.settings.settings import parse_count
from langraft.recipes.load import REGISTRIES
from pages import page, summary, table

PATH = "reference/recipe.md"
_TAGS = ("source", "name")  # keys that choose between several groups


def render() -> str:
    """Return the page."""
    model = recipe_model(REGISTRIES)
    blocks = [
        "A recipe is one YAML file. Unknown keys are refused with the nearest right one. A count "
        "may be written with `k`, `M`, `B` or `T`: `200k`, `1.5M`, `3B`. The same as a JSON "
        "schema for editors: [recipe.schema.json](../recipe.schema.json). How to write one is in "
        "[Write a recipe](../guide/recipe.md).",
    ]
    for path, group in _groups(model):
        blocks += [f"## {_heading(path, group)}", _describe(group), _keys(path, group)]
    return page("Recipe keys", *blocks)


def _groups(model: type[BaseModel]) -> list[tuple[str, type[BaseModel]]]:
    """Return every group of keys and its path, outer groups first, each class once."""
    found: list[tuple[str, type[BaseModel]]] = [("", model)]
    for path, group in found:  # grows while it is walked
        for key, field in group.model_fields.items():
            here = f"{path}.{key}".lstrip(".") + ("[]" if _is_list(field.annotation) else "")
            known = {model for _, model in found}
            found += [(here, m) for m in _models_in(field.annotation) if m not in known]
    return found


def _heading(path: str, model: type[BaseModel]) -> str:
    tag = _tag(model)
    return f"`{path}`" + (f", {tag[0]}: {tag[1]}" if tag else "") if path else "Top level"


def _describe(model: type[BaseModel]) -> str:
    return "" if issubclass(model, Recipe) else summary(model)


def _keys(path: str, model: type[BaseModel]) -> str:
    rows = [
        (
            f"`{f'{path}.{key}'.lstrip('.')}`",
            type_of(field),
            default_of(field),
            field.description or _inherited(field),
        )
        for key, field in model.model_fields.items()
    ]
    return table(("key", "type", "default", "meaning"), rows)


def _inherited(field: FieldInfo) -> str:
    """Describe a key that is a group by the group's own first line."""
    models = _models_in(field.annotation)
    return summary(models[0]) if len(models) == 1 else ""


def type_of(field: FieldInfo) -> str:
    """Write a field's type and limits in words."""
    words = "count" if _is_count(field.metadata) else _words(field.annotation)
    return ", ".join([words, *(w for m in field.metadata if (w := _limit(m)))])


def default_of(field: FieldInfo) -> str:
    """Write a field's default as YAML would."""
    default: Any = field.default
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return "left out"
    if isinstance(default, BaseModel):
        return "its defaults"
    if isinstance(default, tuple):
        return f"`[{', '.join(map(str, default))}]`"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default}`"


def _words(annotation: Any) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        limits = [w for m in annotation.__metadata__ if (w := _limit(m))]
        named = "language" if annotation.__metadata__ and _is_language(annotation) else ""
        named = "count" if _is_count(annotation.__metadata__) else named
        return ", ".join([named or _words(inner[0]), *limits])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (typing.Union, types.UnionType):
        several = [a for a in inner if a is not type(None)]
        return " or ".join(dict.fromkeys(_words(a) for a in several))
    if origin is tuple and inner[-1:] == (Ellipsis,):
        return f"list of {_words(inner[0])}"
    if origin is tuple:
        return f"list of {len(inner)}: {', '.join(dict.fromkeys(map(_words, inner)))}"
    if origin is dict:
        return f"map of {_words(inner[0])} to {_words(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "keys"
    names = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return names.get(annotation, "anything")


def _is_count(metadata: Iterable[Any]) -> bool:
    return any(getattr(m, "func", None) is parse_count for m in metadata)


def _is_language(annotation: Any) -> bool:
    functions = [getattr(m, "func", None) for m in annotation.__metadata__]
    return any(getattr(f, "__name__", "") == "check_language" for f in functions)


def _limit(constraint: Any) -> str:
    for kind, sign, attribute in ((Ge, "≥", "ge"), (Gt, ">", "gt"), (Le, "≤", "le")):
        if isinstance(constraint, kind):
            return f"{sign} {getattr(constraint, attribute)}"
    if isinstance(constraint, MinLen):
        return "at least one" if constraint.min_length == 1 else f"≥ {constraint.min_length} long"
    return f"≤ {constraint.max_length} long" if isinstance(constraint, MaxLen) else ""


def _tag(model: type[BaseModel]) -> tuple[str, str] | None:
    for key in _TAGS:
        field = model.model_fields.get(key)
        if field is not None and typing.get_origin(field.annotation) is Literal:
            return key, str(field.default)
    return None


def _is_list(annotation: Any) -> bool:
    return typing.get_origin(annotation) is tuple


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for part in typing.get_args(annotation) for m in _models_in(part)]
