"""From the data of a recipe to a recipe, with every mistake said at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, create_model

from langraft.core.corpus import Corpus, EngineSettings, FilterSettings, SourceSettings
from langraft.core.recipe import MethodSettings, Recipe
from langraft.core.registry import Registry
from langraft.core.settings import explain


@dataclass(frozen=True)
class Registries:
    """Where a recipe finds what it names."""

    sources: Registry[SourceSettings]
    filters: Registry[FilterSettings]
    engines: Registry[EngineSettings]
    methods: Registry[MethodSettings]


@cache
def recipe_model(registries: Registries) -> type[Recipe]:
    """Return ``Recipe`` with everything that is a file somewhere narrowed to what exists.

    The result validates everything in one pass and publishes one JSON schema.
    """
    any_source: Any = _union([registries.sources[n] for n in registries.sources], "source")
    any_filter: Any = _union([registries.filters[n] for n in registries.filters], "name")
    any_engine: Any = _union([registries.engines[n] for n in registries.engines], "name")
    any_method: Any = _union([registries.methods[n] for n in registries.methods], "name")
    of_corpus: dict[str, Any] = {
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
    corpus = create_model("Corpus", __base__=Corpus, __doc__=Corpus.__doc__, **of_corpus)
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
    """Check the data of a recipe whole.

    Args:
        data: What YAML gave.
        registries: Where sources, filters, engines and methods are found.
        origin: File name for error messages.

    Raises:
        RecipeError: with every mistake: path of the key, what was given, what is allowed.
    """
    model = recipe_model(registries)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise explain(error, model, data, str(origin)) from None


def _union(classes: list[Any], discriminator: str) -> Any:
    if len(classes) == 1:
        return classes[0]
    return Annotated[reduce(or_, classes), Field(discriminator=discriminator)]
