"""Who a teacher of instruction data hands its answers to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from langraft.self_instruct.teacher import Answer, FaultKind, Question


@dataclass
class Heard:
    """A listener that remembers."""

    answers: dict[int, Answer] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)

    def answered(self, question: Question, answer: Answer) -> None:
        assert question.number not in self.answers
        self.answers[question.number] = answer

    def failed(self, question: Question, kind: FaultKind, detail: str) -> None:
        del question, detail
        self.faults[kind] += 1
