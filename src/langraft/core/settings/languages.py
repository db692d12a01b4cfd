"""The languages of a recipe and their roles."""

from __future__ import annotations

from collections import Counter

from pydantic import Field, model_validator

from langraft.core.language import LanguageCode, Role
from langraft.core.settings.settings import Settings


class Languages(Settings):
    """Languages that the model keeps, those that it learns, and those that are only evaluated."""

    original: tuple[LanguageCode, ...] = Field(
        min_length=1, description="Languages that the base serves and must keep."
    )
    new: tuple[LanguageCode, ...] = Field(min_length=1, description="Languages to add.")
    transfer: tuple[LanguageCode, ...] = Field(
        default=(), description="Languages that no stage trains on, evaluated to see transfer."
    )

    @model_validator(mode="after")
    def _refuse_duplicates(self) -> Languages:
        twice = [code for code, times in Counter(self.all).items() if times > 1]
        if twice:
            raise ValueError(
                f"{', '.join(twice)} given more than once; a language is original, new or transfer"
            )
        return self

    @property
    def all(self) -> tuple[str, ...]:
        """Every language, originals first; its index here is its ``language_id`` in a batch."""
        return self.original + self.new + self.transfer

    def role(self, code: str) -> Role:
        """Return whether a declared language is original, new or transfer."""
        if code in self.original:
            return "original"
        return "new" if code in self.new else "transfer"
