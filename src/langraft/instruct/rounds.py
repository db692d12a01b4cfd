"""Rounds of self-instruct in one language: prompts, answers, screening, a larger pool.

PolyLM, MultiAlpaca (arXiv:2307.06018, section 4.1). A prompt depends on the config and the pool as
the round before left it; answers are screened in the order of prompts once all of a round are
there. So the time at which answers come, and how often the run was stopped, changes nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from langraft.core.artifacts import Manifest, begin, finished, perform, write_text
from langraft.corpus.identify import Identifier
from langraft.instruct.answer import Dropped, read_answer
from langraft.instruct.asking import ANSWERS, Desk, read_answers
from langraft.instruct.generation import Generation
from langraft.instruct.instruction import Instruction
from langraft.instruct.journal import Journal
from langraft.instruct.prompt import write_prompt
from langraft.instruct.records import DROPPED, TASKS, lines, read_tasks
from langraft.instruct.screen import Screen
from langraft.instruct.teacher import Question


class Prompt(NamedTuple):
    """A request for new tasks, and the ids of the tasks that it shows."""

    question: Question
    shown: tuple[str, ...]


def plan_round(
    generation: Generation,
    language: str,
    number: int,
    seeds: Sequence[Instruction],
    pool: Sequence[Instruction],
    template: str | None,
) -> list[Prompt]:
    """Return the prompts of a round: a pure function of the arguments.

    Args:
        generation: The config.
        language: Code.
        number: Of the round, from 1.
        seeds: In the language.
        pool: Tasks kept in all rounds before, in order; while it is empty seeds stand in for it.
        template: Text of the user's own prompt.
    """
    num_from_pool = min(generation.from_pool if number > 1 else 0, len(pool))
    num_seeds = min(generation.demonstrations - num_from_pool, len(seeds))
    prompts: list[Prompt] = []
    for place in range(generation.num_prompts(number)):
        name = f"{generation.seed}/{language}/{number}/{place}"
        choice = random.Random(name)
        shown = choice.sample(seeds, num_seeds) + choice.sample(pool, num_from_pool)
        choice.shuffle(shown)
        text = write_prompt(shown, generation.new_tasks, language, template)
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7])
        question = Question(number=place, text=text, seed=seed)
        prompts.append(Prompt(question, tuple(task.id for task in shown)))
    return prompts


class Rounds:
    """The rounds of one language."""

    def __init__(
        self,
        generation: Generation,
        language: str,
        desk: Desk,
        identify: Identifier | None,
        template: str | None,
    ) -> None:
        """Do nothing yet.

        Args:
            generation: The config.
            language: Code.
            desk: The language's way to the teacher.
            identify: Tells languages apart; None judges none.
            template: Text of the user's own prompt.
        """
        self._generation = generation
        self._language = language
        self._desk = desk
        self._identify = identify
        self._template = template

    async def run(
        self, seeds: Sequence[Instruction]
    ) -> tuple[list[Instruction], list[dict[str, Any]]]:
        """Carry out, or find done, round after round until the last one or the target.

        Returns:
            All tasks kept, in order, and what each round counted.

        Raises:
            TeacherError: as the teacher has it; all answers that came are kept.
            ArtifactError: when the folder cannot be written or holds another run's work.
        """
        pool: list[Instruction] = []
        counts: list[dict[str, Any]] = []
        target = self._generation.languages[self._language]
        for number in range(1, self._generation.rounds + 1):
            if target is not None and len(pool) >= target:
                break
            manifest = await self._round(number, seeds, pool)
            counts.append({"round": number, **manifest.counts})
            pool += read_tasks(self._folder(number))
            self._desk.progress.num_kept = len(pool)
            self._desk.progress.changed(self._desk.progress)
        return pool, counts

    def _folder(self, number: int) -> Path:
        return self._desk.folder / f"round-{number:02d}"

    async def _round(
        self, number: int, seeds: Sequence[Instruction], pool: Sequence[Instruction]
    ) -> Manifest:
        generation, folder = self._generation, self._folder(number)
        prompts = plan_round(generation, self._language, number, seeds, pool, self._template)
        questions = [prompt.question for prompt in prompts]
        inputs = {
            "prompts": [question.sha256 for question in questions],
            "screen": generation.screen.model_dump(mode="json"),
        }
        journal = Journal(folder / ANSWERS)
        self._desk.progress.round = number
        if finished(folder, inputs) is None:
            read_answers(journal, questions)  # before anything is changed: are they of this round?
            begin(folder, inputs)
        await self._desk.ask(questions, journal, f"round {number}")
        collected = [task.instruction for task in (*seeds, *pool)]

        def build(into: Path) -> Mapping[str, Any]:
            return self._screen(into, number, prompts, collected)

        name = f"{self._language} round {number}"
        return await asyncio.to_thread(perform, name, folder, inputs, build, is_resumable=True)

    def _screen(
        self, folder: Path, number: int, prompts: Sequence[Prompt], collected: Sequence[str]
    ) -> dict[str, Any]:
        """Read and judge all answers of a round in the order of prompts."""
        settings, language = self._generation.screen, self._language
        answers = read_answers(Journal(folder / ANSWERS), [p.question for p in prompts])
        screen = Screen(language, collected, settings, self._identify)
        kept: list[Instruction] = []
        dropped: list[dict[str, Any]] = []
        num_read = 0
        for question, shown in prompts:
            answer = answers[question.number]
            tasks, pieces = read_answer(
                answer.text,
                first_number=len(shown) + 1,
                language=language,
                is_truncated=answer.is_truncated,
            )
            num_read += len(tasks) + len(pieces)
            for place, task in enumerate(tasks, start=1):
                judged = screen.judge(task)
                if isinstance(judged, Dropped):
                    pieces.append(judged)
                    continue
                kept.append(
                    Instruction(
                        **judged._asdict(),
                        language=language,
                        id=f"{language}_{number:02d}_{question.number:04d}_{place:03d}",
                        seeds=shown,
                        round=number,
                        teacher=self._generation.teacher.label,
                        prompt_sha256=question.sha256,
                    )
                )
            dropped += [
                {"prompt": question.number, "reason": piece.reason, "text": piece.text}
                for piece in pieces
            ]
        write_text(folder / TASKS, lines([task.to_json() for task in kept]))
        write_text(folder / DROPPED, lines(dropped))
        return {
            "prompts": len(prompts),
            "read": num_read,
            "kept": len(kept),
            "dropped": dict(sorted(Counter(str(d["reason"]) for d in dropped).items())),
            "inputs_removed": screen.num_inputs_removed,
            "prompt_tokens": sum(a.prompt_tokens for a in answers.values()),
            "answer_tokens": sum(a.answer_tokens for a in answers.values()),
            "truncated": sum(a.is_truncated for a in answers.values()),
        }
