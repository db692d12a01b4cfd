"""Writes the prompt for new tasks: requirements, a few tasks, and the number of the next one.

PolyLM, MultiAlpaca (arXiv:2307.06018, section 4.1), after Self-Instruct (arXiv:2212.10560). The
paper says what its prompt requires; the wording is ours.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from pathlib import Path

from langraft.chat.formats import NO_INPUT
from langraft.core.errors import RecipeError, did_you_mean
from langraft.core.language import language_name
from langraft.self_instruct.records import Instruction, read_user_text

REQUIREMENTS = (
    "Vary the verbs: no two tasks should begin alike.",
    "Vary the form: mix questions and requests.",
    "Vary the kind of task: open questions, rewriting, classification, extraction, reasoning, "
    "planning, writing and others.",
    "A language model that reads and writes text alone must be able to do it: no pictures, no "
    "sounds, no actions, nothing that must be looked up today.",
    "Instruction, input and output are in {language}.",
    "An instruction is one or two sentences long.",
    "An input is realistic, holds what the instruction needs, does not repeat the instruction and "
    f"has at most 100 words. Where no input is needed, write {NO_INPUT}.",
    "An output is a right and complete answer of fewer than 200 words.",
)
DEFAULT_TEMPLATE = (Path(__file__).parent / "prompts" / "default.txt").read_text(encoding="utf-8")
_REQUIRED = ("language", "demonstrations")
_ALLOWED = ("demonstrations", "first_number", "language", "last_number", "num_new", "requirements")


def write_prompt(
    demonstrations: Sequence[Instruction],
    num_new: int,
    language: str,
    template: str = DEFAULT_TEMPLATE,
) -> str:
    """Return a prompt that ends where the first new task begins.

    Args:
        demonstrations: Tasks to show, in the language asked for; they are numbered from 1.
        num_new: How many more are asked for.
        language: Code of the language to write in.
        template: Text with placeholders, of ``read_template``; blanks at its end are cut.
    """
    name = language_name(language)
    first_number = len(demonstrations) + 1
    return template.rstrip().format(
        language=name,
        requirements="\n".join(
            f"{number}. {text.format(language=name)}"
            for number, text in enumerate(REQUIREMENTS, start=1)
        ),
        demonstrations="\n".join(
            format_task(number, task) for number, task in enumerate(demonstrations, start=1)
        ),
        num_new=num_new,
        first_number=first_number,
        last_number=first_number + num_new - 1,
    )


def format_task(number: int, task: Instruction) -> str:
    """Return a task as prompts show it and answers are to write it."""
    return (
        f"###\n{number}. Instruction: {task.instruction}\n"
        f"{number}. Input:\n{task.input or NO_INPUT}\n"
        f"{number}. Output:\n{task.output}"
    )


def read_template(path: str) -> str:
    """Return the text of a user's template; langraft's where the path is empty.

    Raises:
        RecipeError: when the file cannot be read, a placeholder is unknown or a required one is
            missing.
    """
    if not path:
        return DEFAULT_TEMPLATE
    hint = "Write one, or leave the key `template` out."
    text = read_user_text(Path(path), "template", hint, RecipeError)
    allowed = ", ".join(f"{{{name}}}" for name in _ALLOWED)
    try:
        fields = [field for field in string.Formatter().parse(text) if field[1] is not None]
    except ValueError as error:
        raise RecipeError(
            f"{path}: {error}. Write a brace that is no placeholder twice: {{{{ and }}}}. "
            f"Allowed: {allowed}."
        ) from None
    for _, name, format_spec, conversion in fields:
        if name not in _ALLOWED or format_spec or conversion:
            raise RecipeError(
                f"{path}: unknown placeholder {{{name}}}.{did_you_mean(str(name), _ALLOWED)} "
                f"Allowed: {allowed}. Write a brace that is no placeholder twice."
            )
    names = {name for _, name, _, _ in fields}
    missing = next((name for name in _REQUIRED if name not in names), None)
    if missing is not None:
        raise RecipeError(
            f"{path}: the placeholder {{{missing}}} is missing. Required: "
            f"{', '.join(f'{{{name}}}' for name in _REQUIRED)}; allowed: {allowed}."
        )
    return text
