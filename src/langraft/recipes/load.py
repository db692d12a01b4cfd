"""A recipe from a file, a packaged name or a dictionary, with --set overrides."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path, PurePath
from typing import Any

import yaml

from langraft.core.errors import RecipeError, did_you_mean
from langraft.core.settings.parse import Registries, parse_recipe
from langraft.core.settings.recipe import Recipe
from langraft.core.settings.yaml_keys import change_key, parse_yaml, read_yaml_file
from langraft.corpus.engines import ENGINES
from langraft.corpus.filters import FILTERS
from langraft.corpus.sources import SOURCES
from langraft.evaluate.benchmarks.suites import SUITES
from langraft.graft.methods import METHODS
from langraft.train.trackers import TRACKERS

REGISTRIES = Registries(sources=SOURCES, filters=FILTERS, engines=ENGINES, methods=METHODS)
_PACKAGE = "langraft.recipes"
_GIVEN = "The recipe given"  # in messages, where one of a file has a path
_HINT = "A recipe begins with name:."


def packaged_recipes() -> list[str]:
    """Return the names of the recipes that come with langraft."""
    folder = resources.files(_PACKAGE)
    return sorted(
        p.name.removesuffix(".yaml") for p in folder.iterdir() if p.name.endswith(".yaml")
    )


def load_recipe(recipe: Path | str | Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Args:
        recipe: A YAML file, the name of a packaged recipe such as ``quickstart``, or a dictionary
            of what such a file says; it stays as it is.
        overrides: ``key=value`` with a dotted key (``stages[0].lr=1e-4``) and a YAML value.

    Raises:
        RecipeError: when the file is missing, is not YAML, or cannot be carried out as written.
    """
    if isinstance(recipe, Mapping):
        data, origin = _read_mapping(recipe), _GIVEN
    elif isinstance(recipe, str | os.PathLike):
        data, origin = _read_yaml(recipe), recipe
    else:
        raise RecipeError(
            f"{_GIVEN} is of type {type(recipe).__name__}. Give the path of a YAML file, the name "
            f"of a packaged recipe ({', '.join(packaged_recipes())}), or a dictionary."
        )
    for change in overrides:
        change_key(data, change)
    loaded = parse_recipe(data, REGISTRIES, origin)
    _check_known(origin, "evaluate.suites", loaded.evaluate.suites, SUITES)
    _check_known(origin, "training.track", loaded.training.track, TRACKERS)
    return loaded


def _check_known(path: Path | str, key: str, names: Sequence[str], registry: Iterable[str]) -> None:
    """Raise RecipeError for a name in a list that no file registers."""
    known = list(registry)
    for number, name in enumerate(names):
        if name not in known:
            raise RecipeError(
                f"{path}: {key}[{number}]: given {name!r}; known: {', '.join(known)}."
                f"{did_you_mean(name, known)}"
            )


def dump_recipe(recipe: Recipe) -> str:
    """Return a recipe as YAML with all defaults; reading it returns the same recipe."""
    data = recipe.model_dump(mode="json", exclude_none=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None)


def _read_yaml(path: Path | str) -> dict[str, Any]:
    names = packaged_recipes()
    if os.path.isfile(path):
        text = read_yaml_file(Path(path))
    elif str(path) in names:
        packaged = resources.files(_PACKAGE) / f"{path}.yaml"
        text = packaged.read_text(encoding="utf-8")
    else:
        if os.path.isfile(inside := os.path.join(path, "recipe.yaml")):
            raise RecipeError(f"{path} is a folder, not a recipe. Its recipe is {inside}.")
        raise RecipeError(
            f"There is no recipe {str(path)!r:.200}: no such file, and the packaged recipes are "
            f"{', '.join(names)}.{did_you_mean(str(path), names)}"
        )
    return parse_yaml(text, path, _HINT)


class _Dumper(yaml.SafeDumper):
    """A YAML dumper that writes paths as text."""


_Dumper.add_multi_representer(PurePath, lambda dumper, path: dumper.represent_str(os.fspath(path)))


def _read_mapping(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Read a dictionary as the YAML file that says the same, with the limits of one."""
    try:
        text = yaml.dump(dict(recipe), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    except yaml.representer.RepresenterError as error:
        value = error.args[-1]
        raise RecipeError(
            f"{_GIVEN} holds {value!r:.80}, of type {type(value).__name__}. A recipe holds what "
            "YAML can say: text, numbers, true and false, lists and dictionaries."
        ) from None
    except RecursionError:
        raise RecipeError(f"{_GIVEN} nests too deep for a recipe.") from None
    return parse_yaml(text, _GIVEN, _HINT)
