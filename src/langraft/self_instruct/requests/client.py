"""Asks a teacher each question once and saves every answer the moment it comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from langraft.core.errors import ArtifactError
from langraft.self_instruct.requests.append_only import append_record, read_records
from langraft.self_instruct.teacher import Answer, FaultKind, Question, Session

ANSWERS = "answers.jsonl"
FAULTS = "faults.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class _SavedAnswer(Answer):
    """A line of ``answers.jsonl``."""

    number: int
    prompt_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fault:
    """A line of ``faults.jsonl``, as far as it is counted."""

    kind: str


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


class TeacherClient:
    """Asks the teacher for one language.

    Attributes:
        folder: Of the language; faults are noted there.
        progress: Kept up to date.
    """

    def __init__(self, session: Session, folder: Path, progress: Progress) -> None:
        """Take a session, shared by all languages, and count the faults of earlier processes."""
        self.folder = folder
        self.progress = progress
        self._session = session
        progress.faults.update(fault.kind for fault in read_records(folder / FAULTS, _Fault))

    async def ask(
        self,
        questions: Sequence[Question],
        path: Path,
        stage: str,
        among: Sequence[Question] = (),
    ) -> dict[int, Answer]:
        """Return the answers by number of question; those that are saved are not asked again.

        Args:
            questions: In order of their numbers.
            path: File of the answers to these questions.
            stage: What they belong to, for the list of faults.
            among: All questions with answers in the file, where these are a part of them.

        Raises:
            TeacherError: as the teacher raises it; all answers that came are saved.
            ArtifactError: when the file answers other questions, or cannot be written.
        """
        numbers = {question.number for question in questions}
        saved = read_answers(path, among or questions)
        answers = {number: answer for number, answer in saved.items() if number in numbers}
        self.progress.num_questions, self.progress.num_answers = len(questions), 0
        for answer in answers.values():
            self.progress.add(answer)
        recorder = _Recorder(path, self.folder / FAULTS, stage, answers, self.progress)
        await self._session.ask(questions, frozenset(answers), recorder)
        return answers


@dataclass(frozen=True, slots=True)
class _Recorder:
    """Saves answers and faults as they come, and counts them."""

    answers_file: Path
    faults_file: Path
    stage: str
    answers: dict[int, Answer]
    progress: Progress

    def answered(self, question: Question, answer: Answer) -> None:
        key = {"number": question.number, "prompt_sha256": question.sha256}
        append_record(self.answers_file, key | asdict(answer))
        self.answers[question.number] = answer
        self.progress.add(answer)

    def failed(self, question: Question, kind: FaultKind, detail: str) -> None:
        fault = {"stage": self.stage, "number": question.number, "kind": kind, "detail": detail}
        append_record(self.faults_file, fault)
        self.progress.faults[kind] += 1
        self.progress.changed(self.progress)


def read_answers(path: Path, questions: Sequence[Question]) -> dict[int, Answer]:
    """Return the answers that a file holds, by number of question.

    Raises:
        ArtifactError: when one of them answers a prompt that is not asked here.
    """
    expected = {question.number: question.sha256 for question in questions}
    answers: dict[int, Answer] = {}
    for record in read_records(path, _SavedAnswer):
        if expected.get(record.number) != record.prompt_sha256:
            raise ArtifactError(
                f"{path} answers other prompts than this config asks: prompt {record.number} was "
                "another one. Seeds, settings or an earlier round have changed. Put them back, or "
                "choose another folder with --out; the answers there are kept."
            )
        answers[record.number] = Answer(
            text=record.text,
            is_truncated=record.is_truncated,
            prompt_tokens=record.prompt_tokens,
            answer_tokens=record.answer_tokens,
        )
    return answers


def count_tokens(answers: Mapping[int, Answer]) -> dict[str, int]:
    """Return the tokens of a step's answers, and how many were cut, as its manifest has them."""
    return {
        "prompt_tokens": sum(answer.prompt_tokens for answer in answers.values()),
        "answer_tokens": sum(answer.answer_tokens for answer in answers.values()),
        "truncated": sum(answer.is_truncated for answer in answers.values()),
    }
