"""Settings of instruction data: files of conversations and their chat template."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from langraft.core.conversation import ConversationFormat
from langraft.core.language import LanguageCode
from langraft.core.settings.settings import Settings, Share


class ConversationSource(Settings):
    """Files of conversations."""

    path: str = Field(
        description="JSONL or JSON files, with wildcards; {language} stands for each language."
    )
    languages: tuple[LanguageCode, ...] = Field(
        min_length=1, description="Languages to read from these files."
    )
    format: ConversationFormat = Field(
        default="auto",
        description="alpaca: instruction, input, output and history; sharegpt: conversations of "
        "from and value; messages: messages of role and content; auto: told by the keys of each "
        "record.",
    )
    max_broken: Share = Field(
        default=0.001, description="Share of broken records beyond which the run stops."
    )


class Instruct(Settings):
    """Conversations for stages of kind chat. A bare list stands for its ``sources``."""

    sources: tuple[ConversationSource, ...] = Field(
        min_length=1, description="Where conversations come from."
    )
    template: str = Field(
        default="base",
        description="base: the chat template of the base's tokenizer; polylm or polylm_task: "
        "PolyLM's for chat and for single tasks; or a Jinja file.",
    )
    heldout: int = Field(
        default=100,
        ge=0,
        le=10**6,
        description="Conversations a language, and at most about a tenth of them, kept out of "
        "training; their answers are scored before and after.",
    )

    @model_validator(mode="before")
    @classmethod
    def _allow_bare_list(cls, data: Any) -> Any:
        return {"sources": data} if isinstance(data, list | tuple) else data

    @property
    def languages(self) -> tuple[str, ...]:
        """Every language that has conversations, each once."""
        found = (code for source in self.sources for code in source.languages)
        return tuple(dict.fromkeys(found))
