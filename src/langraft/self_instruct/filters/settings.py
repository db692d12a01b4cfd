"""Limits of the task filters: the key ``screen`` of a config."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from langraft.core.language import LanguageCode, check_language
from langraft.core.settings.settings import Settings, Share

_OVERLAP_WITH_INPUT = {"default": 0.5, "ko": 0.3, "vi": 0.3, "ar": 0.2}


class TaskFilterSettings(Settings):
    """Limits of the filters."""

    overlap_with_input: dict[str, Share] = Field(
        default=_OVERLAP_WITH_INPUT,
        description="By language, and default: Rouge-L F of instruction and input above which a "
        "task is dropped. What is left out stays as it is here.",
    )
    overlap_with_pool: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="Rouge-L F of an instruction and any collected one from which it is dropped.",
    )
    identify: bool = Field(
        default=True, description="Whether each part must be in the language asked for."
    )
    identifier: str | None = Field(
        default=None,
        description="File of a fastText model such as GlotLID's; left out: lingua, 75 languages.",
    )
    other_languages: tuple[LanguageCode, ...] = Field(
        default=("en", "zh", "es", "fr", "de", "ru", "ar", "hi", "ja"),
        min_length=1,
        description="Languages that a teacher may fall into; a part is told from these.",
    )
    min_letters: int = Field(
        default=20,
        ge=1,
        le=10**6,
        description="Letters of prose, without quotations and code, below which the language of a "
        "part is not judged.",
    )

    @field_validator("overlap_with_input", mode="before")
    @classmethod
    def _fill_in_defaults(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        for code in given:
            if code != "default":
                check_language(str(code))
        return _OVERLAP_WITH_INPUT | given

    def overlap_limit(self, language: str) -> float:
        """Return a language's limit of ``overlap_with_input``, or the default."""
        limits = self.overlap_with_input
        codes = (language, base_language(language), "default")
        return next(limits[code] for code in codes if code in limits)


def base_language(code: str) -> str:
    """Return a code without script and region: ``zh`` of ``zh-Hant``."""
    return code.replace("_", "-").partition("-")[0]
