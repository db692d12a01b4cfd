"""Validate the data of a recipe against everything that is registered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, create_model

from langraft.core.registry import Registry
from langraft.core.settings.corpus import Corpus, EngineSettings, FilterSettings, SourceSettings
from langraft.core.settings.recipe import MethodSettings, Recipe
from langraft.core.settings.settings import explain


@dataclass(frozen=True)
class Registries:
    """Registries of what a recipe can name."""

    sources: Registry[SourceSettings]
    filters: Registry[FilterSettings]
    engines: Registry[EngineSettings]
    methods: Registry[MethodSettings]


@cache
def recipe_model(registries: Registries) -> type[Recipe]:
    """Return a ``Recipe`` class that accepts only registered sources, filters, engines and methods.

    It validates everything in one pass and has one JSON schema.
    """
    any_source = _union(registries.sources, "source")
    any_filter = _union(registries.filters, "name")
    any_engine = _union(registries.engines, "name")
    any_method = _union(registries.methods, "name")
    corpus_fields: dict[str, Any] = {
        "sources": (
            tuple[any_source, ...],
            Field(min_length=1, description="Where text comes from."),
        ),
        "filters": (
            tuple[any_filter, ...],
            Field(default=(), description="What drops or mends documents, in this order."),
        ),
        "engine": (any_engine, Field(description="Who does the work; local by default.")),
    }
    corpus = create_model("Corpus", __base__=Corpus, __doc__=Corpus.__doc__, **corpus_fields)
    fields: dict[str, Any] = {
        "corpus": (corpus, Field(description="Text: a list of sources, or keys.")),
        "method": (any_method, Field(description="How the model grows.")),
        "baselines": (
            tuple[any_method, ...],
            Field(default=(), description=Recipe.model_fields["baselines"].description),
        ),
    }
    return create_model("Recipe", __base__=Recipe, __doc__=Recipe.__doc__, **fields)


def parse_recipe(data: object, registries: Registries, origin: str | Path = "recipe") -> Recipe:
    """Validate the data of a whole recipe.

    Args:
        data: Parsed YAML.
        registries: Sources, filters, engines and methods.
        origin: File name for error messages.

    Raises:
        RecipeError: with every mistake: path of the key, what was given, what is allowed.
    """
    model = recipe_model(registries)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise explain(error, model, data, str(origin)) from None


def _union(registry: Registry[Any], discriminator: str) -> Any:
    """Return the type of any registered settings, told apart by the key ``discriminator``."""
    classes = [registry[name] for name in registry]
    if len(classes) == 1:
        return classes[0]
    return Annotated[reduce(or_, classes), Field(discriminator=discriminator)]
