"""What a teacher is asked: requirements, a few tasks, and the number of the next one.

PolyLM, MultiAlpaca (arXiv:2307.06018, section 4.1), after Self-Instruct (arXiv:2212.10560). The
paper says what its prompt requires; the wording is ours.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from langraft.core.errors import RecipeError, did_you_mean
from langraft.core.language import language_name
from langraft.instruct.instruction import NO_INPUT, Instruction

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
_REQUIRED = ("language", "demonstrations")
_ALLOWED = ("demonstrations", "first_number", "language", "last_number", "num_new", "requirements")


def write_prompt(
    demonstrations: Sequence[Instruction],
    num_new: int,
    language: str,
    template: str | None = None,
) -> str:
    """Return a prompt that ends where the first new task begins.

    Args:
        demonstrations: Tasks to show, in the language asked for; they are numbered from 1.
        num_new: How many more are asked for.
        language: Code of the language to write in.
        template: Text with placeholders instead of ours, as ``check_template`` allows; blanks at
            its end are cut.

    Raises:
        RecipeError: when the template has a placeholder that is unknown, or lacks one.
    """
    if template is None:
        template = (
            resources.files("langraft.instruct").joinpath("prompts/default.txt").read_text("utf-8")
        )
    check_template(template, "the template")
    name = language_name(language)
    first_number = len(demonstrations) + 1
    return template.rstrip().format(
        language=name,
        requirements="\n".join(
            f"{number}. {text.format(language=name)}"
            for number, text in enumerate(REQUIREMENTS, start=1)
        ),
        demonstrations="\n".join(
            show_task(number, task) for number, task in enumerate(demonstrations, start=1)
        ),
        num_new=num_new,
        first_number=first_number,
        last_number=first_number + num_new - 1,
    )


def show_task(number: int, task: Instruction) -> str:
    """Return a task as prompts show it and answers are to write it."""
    return (
        f"###\n{number}. Instruction: {task.instruction}\n"
        f"{number}. Input:\n{task.input or NO_INPUT}\n"
        f"{number}. Output:\n{task.output}"
    )


def read_template(path: Path) -> str:
    """Return the text of a user's template.

    Raises:
        RecipeError: when the file cannot be read, or as ``check_template`` does.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError(f"There is no template {path} (seen from {Path.cwd()}).") from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"The template {path} cannot be read: {error}. It must be UTF-8 text."
        ) from None
    check_template(text, str(path))
    return text


def check_template(text: str, origin: str) -> None:
    """Check the placeholders of a template.

    Raises:
        RecipeError: when one is unknown or a required one is missing.
    """
    allowed = ", ".join(f"{{{name}}}" for name in _ALLOWED)
    try:
        fields = [(name, how, to) for _, name, how, to in string.Formatter().parse(text)]
    except ValueError as error:
        raise RecipeError(
            f"{origin}: {error}. Write a brace that is no placeholder twice: {{{{ and }}}}. "
            f"Allowed: {allowed}."
        ) from None
    names = [name for name, _, _ in fields if name is not None]
    for name, how, to in fields:
        if name is not None and (name not in _ALLOWED or how or to):
            raise RecipeError(
                f"{origin}: unknown placeholder {{{name}}}.{did_you_mean(name, _ALLOWED)} "
                f"Allowed: {allowed}. Write a brace that is no placeholder twice."
            )
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise RecipeError(
            f"{origin}: the placeholder {{{missing[0]}}} is missing. Required: "
            f"{', '.join(f'{{{name}}}' for name in _REQUIRED)}; allowed: {allowed}."
        )
