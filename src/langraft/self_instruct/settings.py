"""Settings of self-instruct, as a config of ``langraft instruct generate`` gives them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from langraft.core.errors import RecipeError
from langraft.core.language import LanguageCode
from langraft.core.settings.settings import Seed, Settings, explain, parse_count
from langraft.core.settings.yaml_keys import change_key, parse_yaml, read_yaml_file
from langraft.self_instruct.filters.settings import TaskFilterSettings
from langraft.self_instruct.teacher import AbstractTeacher
from langraft.self_instruct.teachers import TEACHERS

LANGUAGE = "{language}"
_NumTasks = Annotated[int, Field(ge=1, le=10**9), BeforeValidator(parse_count)]


class SelfInstructSettings(Settings):
    """Multilingual self-instruct, with the constants of MultiAlpaca (PolyLM, arXiv:2307.06018)."""

    languages: Mapping[LanguageCode, _NumTasks | None] = Field(
        min_length=1,
        description="Languages, as a list, or with the number of tasks each: no further round "
        "begins once it is reached.",
    )
    teacher: AbstractTeacher = Field(description="Model that writes the tasks.")
    rounds: int = Field(default=10, ge=1, le=10**5, description="Rounds at most.")
    prompts: int = Field(default=100, ge=1, le=10**5, description="Prompts of a round.")
    first_prompts: int = Field(
        default=10, ge=1, le=10**5, description="Prompts of the first round."
    )
    demonstrations: int = Field(default=3, ge=1, le=1000, description="Tasks that a prompt shows.")
    from_pool: int = Field(
        default=1,
        ge=0,
        le=1000,
        description="How many of them are tasks of earlier rounds, after the first; the others "
        "are seeds.",
    )
    new_tasks: int = Field(default=17, ge=1, le=1000, description="Tasks that a prompt asks for.")
    seed: Seed = Field(default=0, description="Seed of the random choice of demonstrations.")
    seeds: str = Field(
        default="",
        description="Own seeds: a JSONL file with instruction, input and output, {language} in its "
        "path; empty: langraft's English ones, translated by the teacher.",
    )
    least_seeds: int = Field(
        default=20, ge=1, le=10**6, description="Translated seeds below which a language stops."
    )
    translation_tries: int = Field(
        default=2, ge=1, le=1000, description="Most requests for the translation of a seed."
    )
    template: str = Field(
        default="", description="File of an own prompt with placeholders; empty: langraft's."
    )
    screen: TaskFilterSettings = Field(
        default=TaskFilterSettings(), description="Limits of the filters that tasks pass."
    )

    @field_validator("languages", mode="before")
    @classmethod
    def _allow_list(cls, given: Any) -> Any:
        listed: list[Any] | None = list(given) if isinstance(given, list | tuple) else None
        is_list = listed is not None and all(isinstance(code, str) for code in listed)
        if not given or not (is_list or isinstance(given, Mapping)):
            raise ValueError(
                "languages are a list, [el, sw], or have the number of tasks wanted, null for as "
                "many as come: {el: 10k, sw: null}"
            )
        return dict.fromkeys(listed) if listed is not None else given

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.from_pool > self.demonstrations:
            raise ValueError("from_pool is at most demonstrations")
        if self.seeds and LANGUAGE not in self.seeds and len(self.languages) > 1:
            raise ValueError("the path of seeds has {language} where there are several languages")
        return self

    def num_prompts(self, round_number: int) -> int:
        """Return the prompts of a round, counted from 1."""
        return self.first_prompts if round_number == 1 else self.prompts


@cache
def settings_model() -> type[SelfInstructSettings]:
    """Return ``SelfInstructSettings`` with the teacher narrowed to the registered ones."""
    classes = [TEACHERS[name] for name in TEACHERS]
    any_teacher: Any = Annotated[reduce(or_, classes), Field(discriminator="name")]  # pyright: ignore[reportArgumentType]
    fields: dict[str, Any] = {
        "teacher": (any_teacher, Field(description="Model that writes the tasks."))
    }
    return create_model(
        "SelfInstructSettings",
        __base__=SelfInstructSettings,
        __doc__=SelfInstructSettings.__doc__,
        **fields,
    )


def parse_settings(data: object, origin: str | Path = "config") -> SelfInstructSettings:
    """Check the data of a config and report all mistakes together.

    Raises:
        RecipeError: with every mistake: path of the key, what was given, what is allowed.
    """
    model = settings_model()
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise explain(error, model, data, str(origin), "config") from None


def load_settings(path: Path, overrides: Sequence[str] = ()) -> SelfInstructSettings:
    """Read and check a config of ``langraft instruct generate``.

    Args:
        path: A YAML file.
        overrides: ``key=value`` with a dotted key (``teacher.max_tokens=2048``) and a YAML value.

    Raises:
        RecipeError: when the file is missing, is no YAML, or cannot be carried out as written.
    """
    if not os.path.isfile(path):
        raise RecipeError(
            f"There is no config {str(path)!r:.200} (seen from {Path.cwd()}). "
            'The guide "Self-instruct" has one to begin with.'
        )
    data = parse_yaml(read_yaml_file(path), path, "A config begins with languages:.")
    for change in overrides:
        change_key(data, change)
    return parse_settings(data, path)
