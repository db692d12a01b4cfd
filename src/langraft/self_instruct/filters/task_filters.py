"""Drops tasks that a teacher wrote badly, in the order of PolyLM.

MultiAlpaca (arXiv:2307.06018, section 4.1) drops tasks with web links, takes away an input that the
instruction holds already, and drops by Rouge-L: an input too like its instruction, an instruction
too like any collected one. That each part is in the right language is ours; the paper leaves it to
the prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from langraft.self_instruct.filters.language_check import LanguageCheck
from langraft.self_instruct.filters.rouge import InstructionPool, rouge_l, tokenize
from langraft.self_instruct.filters.settings import TaskFilterSettings
from langraft.self_instruct.parse_tasks import DroppedTask, ParsedTask

_LINK = re.compile(r"(?:https?|ftp)://|\bwww\.\w", re.IGNORECASE)
_BLANKS = re.compile(r"\s+")
_OUTER_SIGNS = (
    " .,;:!?\u2026\"'\u201c\u201d\u201e\u00ab\u00bb()[]"
    "\u3002\uff0c\uff1a\uff1b\uff01\uff1f\u0964\u061f"
)


class TaskFilters:
    """The filters of one language; each kept task joins the pool that later ones are compared with.

    Attributes:
        num_inputs_removed: Tasks whose input the instruction held already, dropped later or not.
    """

    def __init__(
        self, check: LanguageCheck, collected: Iterable[str], settings: TaskFilterSettings
    ) -> None:
        """Fill the pool with the instructions that exist already.

        Args:
            check: Of the language asked for.
            collected: Instructions in it: seeds, and tasks kept before.
            settings: Limits.
        """
        self.num_inputs_removed = 0
        self._check = check
        self._language = check.language
        self._overlap_limit = settings.overlap_limit(check.language)
        self._pool = InstructionPool(settings.overlap_with_pool)
        for instruction in collected:
            self._pool.add(instruction, self._language)

    def apply(self, task: ParsedTask) -> ParsedTask | DroppedTask:
        """Return the task, without an input that its instruction holds, or why it is dropped.

        Reasons, in this order: ``incomplete``, ``web_link``, ``input_overlap``,
        ``wrong_language_instruction``, ``wrong_language_input``, ``wrong_language_output``,
        ``similar``.
        """
        if not task.instruction.strip() or not task.output.strip():
            return _drop("incomplete", task)
        if any(_LINK.search(part) for part in task):
            return _drop("web_link", task)
        if task.input and _contains(task.instruction, task.input, self._language):
            task = task._replace(input="")
            self.num_inputs_removed += 1
        instruction, input = (tokenize(part, self._language) for part in task[:2])
        if rouge_l(instruction, input) > self._overlap_limit:
            return _drop("input_overlap", task)
        wrong_part = self._check.wrong_part(task)
        if wrong_part:
            return _drop(f"wrong_language_{wrong_part}", task)
        if self._pool.nearest(task.instruction, self._language) is not None:
            return _drop("similar", task)
        self._pool.add(task.instruction, self._language)
        return task


def _contains(instruction: str, given: str, language: str) -> bool:
    """Tell whether an instruction holds an input, as whole words, without its outer signs.

    Neither blanks nor case count.
    """
    plain = _normalize(given)
    if (plain.strip(_OUTER_SIGNS) or plain) not in _normalize(instruction):
        return False
    words, run = tokenize(instruction, language), tokenize(given, language)
    return any(words[start : start + len(run)] == run for start in range(len(words) - len(run) + 1))


def _normalize(text: str) -> str:
    return _BLANKS.sub(" ", text).strip().casefold()


def _drop(reason: str, task: ParsedTask) -> DroppedTask:
    return DroppedTask.shorten(reason, " | ".join(part for part in task if part))
