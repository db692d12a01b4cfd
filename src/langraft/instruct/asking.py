"""Questions to a teacher whose answers are kept the moment they come, and asked once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from langraft.core.errors import ArtifactError
from langraft.instruct.journal import Journal
from langraft.instruct.teacher import Answer, FaultKind, Question, Session

ANSWERS = "answers.jsonl"
FAULTS = "faults.jsonl"


@dataclass(slots=True, kw_only=True)
class Progress:
    """Where the work on one language stands; it changes while it runs.

    Attributes:
        language: Code.
        round: From 1; 0 while seeds are made.
        num_rounds: That are asked for.
        num_questions: Of the list that is asked now.
        num_answers: That have come of them, in this process or before.
        num_kept: Tasks kept in all rounds.
        prompt_tokens: Read by the teacher, in all rounds.
        answer_tokens: Written by it.
        faults: By kind, also those of processes before this one.
        changed: Called after every change.
    """

    language: str
    num_rounds: int
    round: int = 0
    num_questions: int = 0
    num_answers: int = 0
    num_kept: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    changed: Callable[[Progress], None] = lambda progress: None

    def add(self, answer: Answer) -> None:
        """Count an answer."""
        self.num_answers += 1
        self.prompt_tokens += answer.prompt_tokens
        self.answer_tokens += answer.answer_tokens
        self.changed(self)


@dataclass(frozen=True, slots=True)
class Desk:
    """A language's way to the teacher.

    Attributes:
        session: The teacher, shared by all languages.
        folder: Of the language; faults are noted there.
        progress: Kept up to date.
    """

    session: Session
    folder: Path
    progress: Progress

    def count_earlier_faults(self) -> None:
        """Count the faults of processes before this one."""
        self.progress.faults.update(f["kind"] for f in Journal(self.folder / FAULTS).read())

    async def ask(
        self,
        questions: Sequence[Question],
        journal: Journal,
        stage: str,
        among: Sequence[Question] = (),
    ) -> dict[int, Answer]:
        """Return the answers by number of question; those that the journal holds are not asked.

        Args:
            questions: In order of their numbers.
            journal: Of these questions.
            stage: What they belong to, for the list of faults.
            among: All questions of the journal, where these are a part of them.

        Raises:
            TeacherError: as the teacher has it; the journal holds all answers that came.
            ArtifactError: when the journal answers other questions, or cannot be written.
        """
        wanted = {question.number for question in questions}
        found = read_answers(journal, among or questions)
        answers = {number: answer for number, answer in found.items() if number in wanted}
        self.progress.num_questions, self.progress.num_answers = len(questions), 0
        for answer in answers.values():
            self.progress.add(answer)
        listener = _Keeper(self, journal, stage, answers)
        await self.session.ask(questions, frozenset(answers), listener)
        return answers


@dataclass(frozen=True, slots=True)
class _Keeper:
    """Writes down what it hears."""

    desk: Desk
    journal: Journal
    stage: str
    answers: dict[int, Answer]

    def answered(self, question: Question, answer: Answer) -> None:
        self.journal.append(
            {"number": question.number, "prompt_sha256": question.sha256} | asdict(answer)
        )
        self.answers[question.number] = answer
        self.desk.progress.add(answer)

    def failed(self, question: Question, kind: FaultKind, detail: str) -> None:
        fault = {"stage": self.stage, "number": question.number, "kind": kind, "detail": detail}
        Journal(self.desk.folder / FAULTS).append(fault)
        self.desk.progress.faults[kind] += 1
        self.desk.progress.changed(self.desk.progress)


def read_answers(journal: Journal, questions: Sequence[Question]) -> dict[int, Answer]:
    """Return the answers that a journal holds, by number of question.

    Raises:
        ArtifactError: when one of them answers a prompt that is not asked here.
    """
    asked = {question.number: question.sha256 for question in questions}
    answers: dict[int, Answer] = {}
    for record in journal.read():
        known: dict[str, Any] = dict(record)
        number, sha256 = known.pop("number"), known.pop("prompt_sha256")
        if asked.get(number) != sha256:
            raise ArtifactError(
                f"{journal.path} answers other prompts than this config asks: prompt {number} was "
                "another one. Seeds, settings or an earlier round have changed. Put them back, or "
                "choose another folder with --out; the answers there are kept."
            )
        answers[number] = Answer(**known)
    return answers
