"""Every number that a user can give has an upper limit: of recipes, of configs, of options."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import typer

from langraft.cli.main import app
from langraft.core.settings.parse import recipe_model
from langraft.recipes.load import REGISTRIES
from langraft.self_instruct.settings import settings_model


def numbers(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every number that pydantic checks, by its place in the schema of a model."""
    if isinstance(schema, dict):
        if schema.get("type") in ("int", "float"):
            yield path, schema
        for key, inner in schema.items():
            yield from numbers(inner, f"{path}.{key}")
    elif isinstance(schema, list | tuple):
        for number, inner in enumerate(schema):
            yield from numbers(inner, f"{path}[{number}]")


@pytest.mark.parametrize(
    "model", [recipe_model(REGISTRIES), settings_model()], ids=["recipe", "instruct"]
)
def test_every_number_of_a_file_has_an_upper_limit(model: Any) -> None:
    found = list(numbers(model.__pydantic_core_schema__))
    assert len(found) > 20
    assert not [path for path, schema in found if not {"le", "lt"} & set(schema)]


def verbs(app: typer.Typer) -> Iterator[tuple[str, Callable[..., None]]]:
    """Yield every verb of the command line, and those of its groups."""
    for command in app.registered_commands:
        assert command.callback is not None
        yield command.name or command.callback.__name__, command.callback
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from verbs(group.typer_instance)


def number_options() -> list[Any]:
    """Return (verb, option, what typer knows of it) for every option that is a number."""
    found: list[Any] = []
    for verb, function in verbs(app):
        for name, hint in typing.get_type_hints(function, include_extras=True).items():
            kind, *infos = typing.get_args(hint) or (hint,)
            if kind in (int, float):
                found.append(pytest.param(verb, name, infos[-1], id=f"{verb} {name}"))
    return found


def test_the_numbers_of_the_command_line_are_found() -> None:
    assert {p.id for p in number_options()} >= {"chat temperature", "train vocab_size"}


@pytest.mark.parametrize(("verb", "name", "info"), number_options())
def test_every_number_of_the_command_line_has_an_upper_limit(
    verb: str, name: str, info: Any
) -> None:
    assert name != "return", verb
    if info.parser is None:
        assert info.max is not None
        assert info.max < 10**9
        return
    for given in ("0", "-1", "1e30", "9999999999999", "nan", "9" * 5000):
        with pytest.raises(typer.BadParameter):
            info.parser(given)
