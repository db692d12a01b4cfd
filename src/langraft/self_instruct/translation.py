"""Translates langraft's English seeds with the teacher.

PolyLM (arXiv:2307.06018, section 4.1) translates its seeds before self-instruct begins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from langraft.core.artifacts import claim_folder, finished_manifest, perform
from langraft.core.errors import TeacherError
from langraft.core.files import write_text
from langraft.core.language import language_name
from langraft.self_instruct.filters.language_check import LanguageCheck
from langraft.self_instruct.language_run import LanguageRun
from langraft.self_instruct.parse_tasks import DroppedTask, ParsedTask, parse_answer
from langraft.self_instruct.prompt import format_task
from langraft.self_instruct.records import (
    DROPPED,
    TASKS,
    Instruction,
    count_reasons,
    read_tasks,
    tasks_to_jsonl,
    to_jsonl,
)
from langraft.self_instruct.requests.client import ANSWERS, count_tokens, read_answers
from langraft.self_instruct.seeds import seed_tasks
from langraft.self_instruct.teacher import Answer, Question

TRANSLATION = "translation"

_PROMPT = """\
Translate this task from English to {language}. It teaches a language model to follow instructions.

- Translate the instruction, the input and the output, naturally and completely.
- Keep the meaning, numbers, names, code and layout.
- Keep the labels Instruction, Input and Output in English, and <noinput> as it is.
- Write the translated task in exactly the same form, and nothing else.

{task}

Translation:
"""


def translation_prompt(seed: Instruction, language: str) -> str:
    """Return the request for one seed's translation."""
    return _PROMPT.format(language=language_name(language), task=format_task(1, seed))


async def translate_seeds(run: LanguageRun) -> list[Instruction]:
    """Ask for a translation of every seed, and again where it is unusable; return the usable ones.

    Raises:
        TeacherError: when too few translations are left, or the teacher stops.
        ArtifactError: when the folder was made with other seeds.
    """
    seeds, language, num_tries = seed_tasks(), run.language, run.settings.translation_tries
    folder = run.client.folder / TRANSLATION
    # Here an instruction may name the language without its script too: Chinese for zh-Hant.
    check = replace(run.check, other_languages=run.settings.screen.other_languages)
    texts = [translation_prompt(seed, language) for seed in seeds]
    inputs = {"prompts": texts, "tries": num_tries}
    if finished_manifest(folder, inputs) is None:
        claim_folder(folder, inputs)
    questions = [
        Question(number=number, text=text, seed=run.settings.seed + number)
        for number, text in enumerate(texts * num_tries)
    ]
    usable = set[int]()
    for attempt in range(num_tries):
        first = attempt * len(seeds)
        asked = [q for q in questions[first : first + len(seeds)] if q.number - first not in usable]
        stage = f"translation {attempt + 1}"
        answers = await run.client.ask(asked, folder / ANSWERS, stage, among=questions)
        for number, answer in answers.items():
            translated = check_translation(answer, seeds[number - first], check)
            if isinstance(translated, ParsedTask):
                usable.add(number - first)

    def build(into: Path) -> Mapping[str, Any]:
        return _write_translations(into, read_answers(folder / ANSWERS, questions), check)

    manifest = await asyncio.to_thread(
        perform, "translation", folder, inputs, build, is_resumable=True
    )
    if manifest.counts["kept"] < run.settings.least_seeds:
        raise TeacherError(
            f"Of {len(seeds)} seeds {manifest.counts['kept']} were translated into {language} well "
            f"enough (reasons: {manifest.counts['dropped']}; {folder / DROPPED}), and "
            f"least_seeds is {run.settings.least_seeds}. Take a teacher that writes "
            f"{language_name(language)}, give own seeds (key `seeds`), or lower least_seeds."
        )
    return read_tasks(folder)


def _write_translations(
    folder: Path, answers: Mapping[int, Answer], check: LanguageCheck
) -> dict[str, Any]:
    """Write the first usable translation of each seed, and what was wrong with every other."""
    seeds = seed_tasks()
    kept: dict[int, Instruction] = {}
    dropped: list[dict[str, Any]] = []
    for number in sorted(answers):
        place = number % len(seeds)
        result = check_translation(answers[number], seeds[place], check)
        if isinstance(result, ParsedTask):
            kept.setdefault(
                place, replace(seeds[place], **result._asdict(), language=check.language)
            )
        else:
            dropped.append({"seed": seeds[place].id, "reason": result.reason, "text": result.text})
    write_text(folder / TASKS, tasks_to_jsonl(kept[place] for place in sorted(kept)))
    write_text(folder / DROPPED, to_jsonl(dropped))
    return {
        "seeds": len(seeds),
        "requests": len(answers),
        "kept": len(kept),
        "left_out": len(seeds) - len(kept),
        "dropped": count_reasons(dropped),
        **count_tokens(answers),
    }


def check_translation(
    answer: Answer, seed: Instruction, check: LanguageCheck
) -> ParsedTask | DroppedTask:
    """Return a seed's translation, or why the answer is none, as far as a machine can tell."""
    tasks, dropped = parse_answer(
        answer.text, first_number=1, language=check.language, is_truncated=answer.is_truncated
    )
    if not tasks:
        return dropped[0] if dropped else DroppedTask.shorten("malformed", answer.text)
    task = tasks[0]
    reason = ""
    if len(tasks) > 1 or bool(task.input) != bool(seed.input):
        reason = "other_task"
    elif task.instruction.casefold() == seed.instruction.casefold():
        reason = "not_translated"
    elif wrong_part := check.wrong_part(task):
        reason = f"wrong_language_{wrong_part}"
    return DroppedTask.shorten(reason, " | ".join(task)) if reason else task
