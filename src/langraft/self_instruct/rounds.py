"""Rounds of self-instruct in one language: prompts, answers, filters, a larger pool.

PolyLM, MultiAlpaca (arXiv:2307.06018, section 4.1). A prompt depends on the config and the pool as
the round before left it; answers are filtered in the order of prompts once all of a round are
there. So the time at which answers come, and how often the run was stopped, changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from langraft.core.artifacts import Manifest, claim_folder, finished_manifest, perform
from langraft.core.files import write_text
from langraft.self_instruct.filters.task_filters import TaskFilters
from langraft.self_instruct.language_run import LanguageRun
from langraft.self_instruct.parse_tasks import DroppedTask, ParsedTask, parse_answer
from langraft.self_instruct.prompt import DEFAULT_TEMPLATE, write_prompt
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
from langraft.self_instruct.settings import SelfInstructSettings
from langraft.self_instruct.teacher import Answer, Question


class RoundPrompt(NamedTuple):
    """A request for new tasks, and the ids of the tasks that it shows."""

    question: Question
    demonstration_ids: tuple[str, ...]


async def run_rounds(
    run: LanguageRun, seeds: Sequence[Instruction]
) -> tuple[list[Instruction], list[dict[str, Any]]]:
    """Run round after round until the last one or the target; finished ones are read.

    Returns:
        All tasks kept, in order, and the counts of each round.

    Raises:
        TeacherError: as the teacher raises it; all answers that came are kept.
        ArtifactError: when the folder cannot be written or holds another run's work.
    """
    pool: list[Instruction] = []
    counts: list[dict[str, Any]] = []
    target, progress = run.settings.languages[run.language], run.client.progress
    for number in range(1, run.settings.rounds + 1):
        if target is not None and len(pool) >= target:
            break
        folder = run.client.folder / f"round-{number:02d}"
        progress.round = number
        manifest = await _run_round(run, folder, number, seeds, pool)
        counts.append({"round": number, **manifest.counts})
        pool += read_tasks(folder)
        progress.num_kept = len(pool)
        progress.changed(progress)
    return pool, counts


async def _run_round(
    run: LanguageRun,
    folder: Path,
    number: int,
    seeds: Sequence[Instruction],
    pool: Sequence[Instruction],
) -> Manifest:
    """Ask the prompts of a round, then filter the tasks of all answers into its folder."""
    prompts = plan_round(run.settings, run.language, number, seeds, pool, run.template)
    questions = [prompt.question for prompt in prompts]
    inputs = {
        "prompts": [question.sha256 for question in questions],
        "screen": run.settings.screen.model_dump(mode="json"),
    }
    if finished_manifest(folder, inputs) is None:
        read_answers(folder / ANSWERS, questions)  # refuses answers of another round, if any
        claim_folder(folder, inputs)
    answers = await run.client.ask(questions, folder / ANSWERS, f"round {number}")

    def build(into: Path) -> Mapping[str, Any]:
        collected = [task.instruction for task in (*seeds, *pool)]
        filters = TaskFilters(run.check, collected, run.settings.screen)
        return _filter_answers(run, into, number, prompts, answers, filters)

    name = f"{run.language} round {number}"
    return await asyncio.to_thread(perform, name, folder, inputs, build, is_resumable=True)


def plan_round(
    settings: SelfInstructSettings,
    language: str,
    number: int,
    seeds: Sequence[Instruction],
    pool: Sequence[Instruction],
    template: str = DEFAULT_TEMPLATE,
) -> list[RoundPrompt]:
    """Return the prompts of a round: a pure function of the arguments.

    Args:
        settings: The config.
        language: Code.
        number: Of the round, from 1.
        seeds: In the language.
        pool: Tasks kept in all rounds before, in order; while it is empty, only seeds are shown.
        template: Text of the prompt, with placeholders.
    """
    num_from_pool = min(settings.from_pool if number > 1 else 0, len(pool))
    num_seeds = min(settings.demonstrations - num_from_pool, len(seeds))
    prompts: list[RoundPrompt] = []
    for place in range(settings.num_prompts(number)):
        name = f"{settings.seed}/{language}/{number}/{place}"
        choice = random.Random(name)
        shown = choice.sample(seeds, num_seeds) + choice.sample(pool, num_from_pool)
        choice.shuffle(shown)
        text = write_prompt(shown, settings.new_tasks, language, template)
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
        question = Question(number=place, text=text, seed=seed)
        prompts.append(RoundPrompt(question, tuple(task.id for task in shown)))
    return prompts


def _filter_answers(
    run: LanguageRun,
    folder: Path,
    number: int,
    prompts: Sequence[RoundPrompt],
    answers: Mapping[int, Answer],
    filters: TaskFilters,
) -> dict[str, Any]:
    """Parse and filter the answers of a round in the order of prompts; return its counts."""
    kept: list[Instruction] = []
    dropped: list[dict[str, Any]] = []
    for question, shown in prompts:
        for place, task in _parse(answers[question.number], len(shown) + 1, run.language):
            result = filters.apply(task) if isinstance(task, ParsedTask) else task
            if isinstance(result, DroppedTask):
                dropped.append(
                    {"prompt": question.number, "reason": result.reason, "text": result.text}
                )
                continue
            kept.append(
                Instruction(
                    **result._asdict(),
                    language=run.language,
                    id=f"{run.language}_{number:02d}_{question.number:04d}_{place:03d}",
                    seeds=shown,
                    round=number,
                    teacher=run.settings.teacher.label,
                    prompt_sha256=question.sha256,
                )
            )
    write_text(folder / TASKS, tasks_to_jsonl(kept))
    write_text(folder / DROPPED, to_jsonl(dropped))
    return {
        "prompts": len(prompts),
        "read": len(kept) + len(dropped),
        "kept": len(kept),
        "dropped": count_reasons(dropped),
        "inputs_removed": filters.num_inputs_removed,
        **count_tokens(answers),
    }


def _parse(
    answer: Answer, first_number: int, language: str
) -> Iterator[tuple[int, ParsedTask | DroppedTask]]:
    """Yield what an answer holds: first pieces that cannot be read, then tasks from 1 on."""
    tasks, dropped = parse_answer(
        answer.text,
        first_number=first_number,
        language=language,
        is_truncated=answer.is_truncated,
    )
    yield from ((0, piece) for piece in dropped)
    yield from enumerate(tasks, start=1)
