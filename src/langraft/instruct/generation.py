"""What a config of ``langraft instruct generate`` says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, create_model, field_validator, model_validator

from langraft.core.errors import RecipeError
from langraft.core.language import LanguageCode
from langraft.core.settings import Count, Settings, explain
from langraft.core.yaml_keys import change_key, parse_yaml
from langraft.instruct.screen import ScreenSettings
from langraft.instruct.teacher import AbstractTeacher
from langraft.instruct.teachers import TEACHERS

LANGUAGE = "{language}"


class Generation(Settings):
    """Multilingual self-instruct, with the constants of MultiAlpaca (PolyLM, arXiv:2307.06018)."""

    languages: Mapping[LanguageCode, Annotated[Count, Field(ge=1)] | None] = Field(
        min_length=1,
        description="Languages, as a list, or with the number of tasks each: no further round "
        "begins once it is reached.",
    )
    teacher: AbstractTeacher = Field(description="Who writes.")
    rounds: int = Field(default=10, ge=1, description="Rounds at most.")
    prompts: int = Field(default=100, ge=1, description="Prompts of a round.")
    first_prompts: int = Field(default=10, ge=1, description="Prompts of the first round.")
    demonstrations: int = Field(default=3, ge=1, description="Tasks that a prompt shows.")
    from_pool: int = Field(
        default=1,
        ge=0,
        description="How many of them are tasks of earlier rounds, after the first; the others "
        "are seeds.",
    )
    new_tasks: int = Field(default=17, ge=1, description="Tasks that a prompt asks for.")
    seed: int = Field(default=0, ge=0, description="Of the choice of demonstrations.")
    seeds: str = Field(
        default="",
        description="Own seeds: a JSONL file with instruction, input and output, {language} in its "
        "path; empty: langraft's English ones, translated by the teacher.",
    )
    least_seeds: int = Field(
        default=20, ge=1, description="Translated seeds below which a language stops."
    )
    translation_tries: int = Field(
        default=2, ge=1, description="Requests for a seed whose translation is no good."
    )
    template: str = Field(
        default="", description="File of an own prompt with placeholders; empty: langraft's."
    )
    screen: ScreenSettings = Field(
        default=ScreenSettings(), description="Limits of the filters that tasks pass."
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
def generation_model() -> type[Generation]:
    """Return ``Generation`` with the teacher narrowed to those that exist."""
    classes = [TEACHERS[name] for name in TEACHERS]
    any_teacher: Any = Annotated[reduce(or_, classes), Field(discriminator="name")]  # pyright: ignore[reportArgumentType]
    fields: dict[str, Any] = {"teacher": (any_teacher, Field(description="Who writes."))}
    return create_model("Generation", __base__=Generation, __doc__=Generation.__doc__, **fields)


def parse_generation(data: object, origin: str | Path = "config") -> Generation:
    """Check the data of a config whole.

    Raises:
        RecipeError: with every mistake: path of the key, what was given, what is allowed.
    """
    model = generation_model()
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise explain(error, model, data, str(origin), "config") from None


def load_generation(path: Path, overrides: Sequence[str] = ()) -> Generation:
    """Read and check a config of ``langraft instruct generate``.

    Args:
        path: A YAML file.
        overrides: ``key=value`` with a dotted key (``teacher.max_tokens=2048``) and a YAML value.

    Raises:
        RecipeError: when the file is missing, is no YAML, or cannot be carried out as written.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(
            f'There is no config {path}. The guide "Self-instruct" has one to begin with.'
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {error}. It must be UTF-8 text.") from None
    data = parse_yaml(text, path, "A config begins with languages:.")
    for change in overrides:
        change_key(data, change)
    return parse_generation(data, path)
