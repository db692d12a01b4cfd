"""What rounds and translation need to work on one language."""

from __future__ import annotations

from dataclasses import dataclass

from langraft.self_instruct.filters.language_check import LanguageCheck
from langraft.self_instruct.requests.client import TeacherClient
from langraft.self_instruct.settings import SelfInstructSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageRun:
    """The work on one language; the folder of its client is the language's."""

    language: str
    settings: SelfInstructSettings
    template: str
    check: LanguageCheck
    client: TeacherClient
