"""Seeds in a language: a user's own, langraft's English ones, or these translated by the teacher.

PolyLM (arXiv:2307.06018, section 4.1) translates its seeds before self-instruct begins.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from langraft.core.artifacts import (
    begin,
    explain_disk_errors,
    finished,
    perform,
    write_text,
)
from langraft.core.errors import ArtifactError, CorpusError, TeacherError
from langraft.core.language import language_name
from langraft.corpus.identify import Identifier
from langraft.instruct.answer import Dropped, Task, read_answer
from langraft.instruct.asking import ANSWERS, Desk, read_answers
from langraft.instruct.generation import LANGUAGE, Generation
from langraft.instruct.instruction import Instruction, clean_input
from langraft.instruct.journal import Journal
from langraft.instruct.prompt import show_task
from langraft.instruct.records import DROPPED, TASKS, lines, read_tasks
from langraft.instruct.right_language import part_in_another_language
from langraft.instruct.screen import ScreenSettings
from langraft.instruct.seeds import SEED_LANGUAGE, seed_tasks
from langraft.instruct.teacher import Answer, Question

SEEDS = "seeds.jsonl"

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
    return _PROMPT.format(language=language_name(language), task=show_task(1, seed))


async def seeds_in(
    language: str, generation: Generation, desk: Desk, identify: Identifier | None
) -> list[Instruction]:
    """Return the seeds of a language, and leave them in its ``seeds.jsonl``.

    Raises:
        CorpusError: when a user's own seeds are missing, broken or too few.
        TeacherError: when too few translations are left, or the teacher stops.
        ArtifactError: when the folder was made with other seeds.
    """
    if generation.seeds:
        path = Path(generation.seeds.replace(LANGUAGE, language))
        seeds = read_seeds(path, language, generation.demonstrations)
    elif language == SEED_LANGUAGE:
        seeds = seed_tasks()
    else:
        seeds = await _translate(language, generation, desk, identify)
    text = lines([seed.to_json() for seed in seeds])
    path = desk.folder / SEEDS
    with explain_disk_errors(desk.folder):
        desk.folder.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_text(encoding="utf-8") != text:
            raise ArtifactError(
                f"{path} holds other seeds than this config gives, and what was made there began "
                "with them. Put the earlier seeds back, or choose another folder with --out."
            )
        write_text(path, text)
    return seeds


def read_seeds(path: Path, language: str, least: int) -> list[Instruction]:
    """Read a user's seeds: lines of JSON with instruction, input (may be left out) and output.

    Raises:
        CorpusError: when the file cannot be read, a line is no task, or there are fewer than least.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CorpusError(
            f"There are no seeds {path} (key `seeds`, language {language}; seen from "
            f"{Path.cwd()}). Write the file, or leave the key out."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"The seeds {path} cannot be read: {error}.") from None
    seeds = [
        _read_seed(line, f"{path}:{number}", language, f"seed_{number:03d}")
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    if len(seeds) < least:
        raise CorpusError(
            f"{path} holds {len(seeds)} seeds; a prompt shows {least} different ones. Add some."
        )
    twice = [id for id, count in Counter(seed.id for seed in seeds).items() if count > 1]
    if twice:
        raise CorpusError(f"{path}: the id {twice[0]!r} stands there twice.")
    return seeds


def _read_seed(line: str, place: str, language: str, id: str) -> Instruction:
    wanted = "Each line is JSON with the texts instruction, input and output."
    try:
        record: Any = json.loads(line)
    except ValueError as error:
        raise CorpusError(f"{place} is no JSON: {error}. {wanted}") from None
    if not isinstance(record, dict):
        raise CorpusError(f"{place} holds {type(record).__name__}. {wanted}")
    parts = {key: record.get(key) for key in ("instruction", "output")}
    given = record.get("input")
    lacking = [
        key for key, value in parts.items() if not isinstance(value, str) or not value.strip()
    ]
    if lacking or not isinstance(given, str | None):
        raise CorpusError(f"{place}: {(lacking or ['input'])[0]} is no text. {wanted}")
    return Instruction(
        instruction=str(parts["instruction"]).strip(),
        input=clean_input(given),
        output=str(parts["output"]).strip(),
        language=language,
        id=str(record.get("id") or id),
    )


async def _translate(
    language: str, generation: Generation, desk: Desk, identify: Identifier | None
) -> list[Instruction]:
    """Ask for every seed, and again for those whose translation is no good."""
    folder, seeds = desk.folder / "translation", seed_tasks()
    texts = [translation_prompt(seed, language) for seed in seeds]
    inputs = {"prompts": texts, "tries": generation.translation_tries}
    checker = _Checker(language, generation.screen, identify)
    if finished(folder, inputs) is None:
        begin(folder, inputs)
    journal, good = Journal(folder / ANSWERS), set[int]()
    questions = [
        Question(number=number, text=text, seed=generation.seed + number)
        for number, text in enumerate(texts * generation.translation_tries)
    ]
    for attempt in range(generation.translation_tries):
        first = attempt * len(seeds)
        asked = [q for q in questions[first : first + len(seeds)] if q.number - first not in good]
        answers = await desk.ask(asked, journal, f"translation {attempt + 1}", among=questions)
        good |= {
            number - first
            for number, answer in answers.items()
            if isinstance(checker.check(answer, seeds[number - first]), Task)
        }

    def build(into: Path) -> Mapping[str, Any]:
        found = read_answers(journal, questions)
        return _write_translations(into, found, seeds, checker, language)

    manifest = await asyncio.to_thread(
        perform, "translation", folder, inputs, build, is_resumable=True
    )
    if manifest.counts["kept"] < generation.least_seeds:
        raise TeacherError(
            f"Of {len(seeds)} seeds {manifest.counts['kept']} were translated into {language} well "
            f"enough (reasons: {manifest.counts['dropped']}; {folder / DROPPED}), and "
            f"least_seeds is {generation.least_seeds}. Take a teacher that writes "
            f"{language_name(language)}, give own seeds (key `seeds`), or lower least_seeds."
        )
    return read_tasks(folder)


def _write_translations(
    folder: Path,
    answers: Mapping[int, Answer],
    seeds: Sequence[Instruction],
    checker: _Checker,
    language: str,
) -> dict[str, Any]:
    """Write the first good translation of each seed, and what was wrong with every other."""
    kept: dict[int, Instruction] = {}
    dropped: list[dict[str, Any]] = []
    for number in sorted(answers):
        seed = seeds[number % len(seeds)]
        found = checker.check(answers[number], seed)
        if isinstance(found, Task):
            translated = replace(seed, **found._asdict(), language=language)
            kept.setdefault(number % len(seeds), translated)
        else:
            dropped.append({"seed": seed.id, "reason": found.reason, "text": found.text})
    write_text(folder / TASKS, lines([kept[place].to_json() for place in sorted(kept)]))
    write_text(folder / DROPPED, lines(dropped))
    return {
        "seeds": len(seeds),
        "requests": len(answers),
        "kept": len(kept),
        "left_out": len(seeds) - len(kept),
        "dropped": dict(sorted(Counter(str(d["reason"]) for d in dropped).items())),
        "prompt_tokens": sum(a.prompt_tokens for a in answers.values()),
        "answer_tokens": sum(a.answer_tokens for a in answers.values()),
        "truncated": sum(a.is_truncated for a in answers.values()),
    }


class _Checker:
    """Says whether an answer is the translation of a seed, as far as a machine can."""

    def __init__(
        self, language: str, settings: ScreenSettings, identify: Identifier | None
    ) -> None:
        self._language = language
        self._settings = settings
        self._identify = identify

    def check(self, answer: Answer, seed: Instruction) -> Task | Dropped:
        tasks, dropped = read_answer(
            answer.text, first_number=1, language=self._language, is_truncated=answer.is_truncated
        )
        if not tasks:
            return dropped[0] if dropped else Dropped.piece("malformed", answer.text)
        task = tasks[0]
        shown = " | ".join(task)
        if len(tasks) > 1 or bool(task.input) != bool(seed.input):
            return Dropped.piece("other_task", shown)
        if task.instruction.casefold() == seed.instruction.casefold():
            return Dropped.piece("not_translated", shown)
        if self._identify is not None:
            others = self._settings.other_languages
            wrong = part_in_another_language(
                task, self._language, others, self._identify, self._settings.min_letters
            )
            if wrong:
                return Dropped.piece(f"wrong_language_{wrong}", shown)
        return task
