"""recipe.schema.json: the recipe for editors and other programs."""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from langraft.core.settings.parse import recipe_model
from langraft.core.settings.settings import parse_count
from langraft.corpus.engines import ENGINES
from langraft.corpus.filters import FILTERS
from langraft.graft.methods import METHODS
from langraft.recipes.load import REGISTRIES

PATH = "recipe.schema.json"


class WrittenForms(GenerateJsonSchema):
    """A schema of what may stand in a file: counts such as 3B are texts there."""

    def function_before_schema(self, schema: Any) -> JsonSchemaValue:
        """Allow what ``parse_count`` reads."""
        inner = super().function_before_schema(schema)
        if schema["function"]["function"] is not parse_count:
            return inner
        written = {"type": "string", "pattern": r"^[0-9_]+(\.[0-9]+)?[kMBT]?$"}
        return {"anyOf": [inner, written]}


def render() -> str:
    """Return the JSON schema."""
    schema = recipe_model(REGISTRIES).model_json_schema(schema_generator=WrittenForms)
    keys = schema["properties"]
    of_corpus = schema["$defs"]["Corpus"]  # a list stands for its sources, names for their keys
    of_corpus["required"].remove("engine")
    for key, registry in (("engine", ENGINES), ("filters", FILTERS)):
        place = of_corpus["properties"][key]
        bare = {"enum": list(registry)}
        if key == "filters":
            place["items"] = {"anyOf": [bare, place["items"]]}
        else:
            of_corpus["properties"][key] = {"anyOf": [bare, place]}
    of_base = schema["$defs"]["ScratchBase"]  # a shape stands for a configuration
    of_base["required"].remove("config")
    of_base["anyOf"] = [{"required": ["config"]}, {"required": ["shape"]}]
    keys["corpus"] = {"anyOf": [of_corpus["properties"]["sources"], keys["corpus"]]}
    names = {"enum": list(METHODS)}  # a bare name stands for a method with its defaults
    keys["method"] = {"anyOf": [names, keys["method"]]}
    keys["baselines"]["items"] = {"anyOf": [names, keys["baselines"]["items"]]}
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps(draft | schema, indent=2, ensure_ascii=False) + "\n"
