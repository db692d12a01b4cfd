"""What is dropped of the tasks that a teacher wrote, in the order of PolyLM.

MultiAlpaca (arXiv:2307.06018, section 4.1) drops tasks with web links, takes away an input that the
instruction holds already, and drops by Rouge-L: an input too like its instruction, an instruction
too like any collected one. That each part is in the right language is ours; the paper leaves it to
the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from langraft.core.language import LanguageCode, check_language
from langraft.core.settings import Settings, Share
from langraft.corpus.identify import Identifier, make_identifier
from langraft.instruct.answer import Dropped, Task
from langraft.instruct.right_language import part_in_another_language
from langraft.instruct.rouge import InstructionPool, rouge_l, tokenize

_LINK = re.compile(r"(?:https?|ftp)://|\bwww\.\w", re.IGNORECASE)
_BLANKS = re.compile(r"\s+")
_OUTER_SIGNS = (
    " .,;:!?\u2026\"'\u201c\u201d\u201e\u00ab\u00bb()[]"
    "\u3002\uff0c\uff1a\uff1b\uff01\uff1f\u0964\u061f"
)
_OVERLAP_WITH_INPUT = {"default": 0.5, "ko": 0.3, "vi": 0.3, "ar": 0.2}


class ScreenSettings(Settings):
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
        description="Letters of prose, without quotations and code, below which the language of a "
        "part is not judged.",
    )

    @field_validator("overlap_with_input", mode="before")
    @classmethod
    def _keep_the_rest(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        for code in given:
            if code != "default":
                check_language(str(code))
        return _OVERLAP_WITH_INPUT | given

    def overlap_limit(self, language: str) -> float:
        """Return the limit of a language: its own, or that of all."""
        limits = self.overlap_with_input
        codes = (language, _short(language), "default")
        return next(limits[code] for code in codes if code in limits)


def screen_identifier(language: str, settings: ScreenSettings) -> Identifier | None:
    """Return what tells a language from those that a teacher may fall into; None if not asked for.

    Raises:
        MissingExtraError: when the package it needs is not installed.
        CorpusError: when it does not know a language, or the model's file is missing or no model.
    """
    if not settings.identify:
        return None
    model = None if settings.identifier is None else Path(settings.identifier)
    return make_identifier([*_others(language, settings), language], model)


class Screen:
    """Judges the tasks of one language, one after another.

    Attributes:
        num_inputs_removed: Tasks whose input the instruction held already, dropped later or not.
        pool: Instructions collected so far; that of a kept task joins them.
    """

    def __init__(
        self,
        language: str,
        collected: Iterable[str],
        settings: ScreenSettings,
        identify: Identifier | None,
    ) -> None:
        """Collect the instructions that are there.

        Args:
            language: Code of the language asked for.
            collected: Instructions in it: seeds, and tasks kept before.
            settings: Limits.
            identify: Of ``screen_identifier``; None judges no language.
        """
        self.num_inputs_removed = 0
        self.pool = InstructionPool(settings.overlap_with_pool)
        self._language = language
        self._settings = settings
        self._identify = identify
        for instruction in collected:
            self.pool.add(instruction, language)

    def judge(self, task: Task) -> Task | Dropped:
        """Return the task, without an input that its instruction holds, or why it is dropped.

        Reasons, in this order: ``incomplete``, ``web_link``, ``input_overlap``,
        ``wrong_language_instruction``, ``wrong_language_input``, ``wrong_language_output``,
        ``similar``.
        """
        if not task.instruction.strip() or not task.output.strip():
            return _dropped("incomplete", task)
        if any(_LINK.search(part) for part in task):
            return _dropped("web_link", task)
        if task.input and _contains(task.instruction, task.input, self._language):
            task = task._replace(input="")
            self.num_inputs_removed += 1
        if self._input_overlap(task) > self._settings.overlap_limit(self._language):
            return _dropped("input_overlap", task)
        wrong = self._part_in_another_language(task)
        if wrong:
            return _dropped(f"wrong_language_{wrong}", task)
        if self.pool.nearest(task.instruction, self._language) is not None:
            return _dropped("similar", task)
        self.pool.add(task.instruction, self._language)
        return task

    def _input_overlap(self, task: Task) -> float:
        return rouge_l(
            tokenize(task.instruction, self._language), tokenize(task.input, self._language)
        )

    def _part_in_another_language(self, task: Task) -> str:
        if self._identify is None:
            return ""
        settings = self._settings
        others = _others(self._language, settings)
        return part_in_another_language(
            task, self._language, others, self._identify, settings.min_letters
        )


def _contains(instruction: str, given: str, language: str) -> bool:
    """Tell whether an instruction holds an input, as whole words, without its outer signs.

    Neither blanks nor case count.
    """
    plain = _plain(given)
    if (plain.strip(_OUTER_SIGNS) or plain) not in _plain(instruction):
        return False
    words, run = tokenize(instruction, language), tokenize(given, language)
    return any(words[start : start + len(run)] == run for start in range(len(words) - len(run) + 1))


def _plain(text: str) -> str:
    return _BLANKS.sub(" ", text).strip().casefold()


def _others(language: str, settings: ScreenSettings) -> list[str]:
    return [code for code in settings.other_languages if _short(code) != _short(language)]


def _short(code: str) -> str:
    return code.replace("_", "-").partition("-")[0]


def _dropped(reason: str, task: Task) -> Dropped:
    return Dropped.piece(reason, " | ".join(part for part in task if part))
