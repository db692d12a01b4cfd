"""TyDiQA-GoldP: answer a question from a passage, in nine languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langraft.core.language import language_name
from langraft.evaluate.benchmark import AbstractBenchmark, Layout, Record
from langraft.evaluate.passage_answers import hub_answers

_NAMES = {
    "ar": "arabic",
    "bn": "bengali",
    "en": "english",
    "fi": "finnish",
    "id": "indonesian",
    "ko": "korean",
    "ru": "russian",
    "sw": "swahili",
    "te": "telugu",
}


class TyDiQA(AbstractBenchmark):
    """Read the context and answer the question in one or a few words in the language named.

    PolyLM (arXiv:2307.06018, section 5): one example, F1. The paper prints the first sentence of
    its prompt alone; the names of what follows (``Context``, ``Question``, ``Answer``) are ours.
    Deviation from the harness: the prompt, whose own is in each language without an instruction.
    """

    languages: ClassVar[Mapping[str, str]] = _NAMES
    shots: ClassVar[int] = 1
    metric: ClassVar[str] = "f1,none"
    harness_folders: ClassVar[tuple[str, ...]] = ("tydiqa",)
    layout: ClassVar[Layout] = {"context": str, "question": str, "answers": dict}
    test_splits: ClassVar[tuple[str, ...]] = ("validation", "dev", "")
    shot_splits: ClassVar[tuple[str, ...]] = ("train",)

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the harness's task of a language with PolyLM's prompt."""
        del part
        return {
            "task": f"tydiqa_goldp_{language}",
            "doc_to_text": "Read the context and answer the question in one or a few words in "
            f"{language_name(language)}.\nContext: {{{{context}}}}\nQuestion: {{{{question}}}}\n"
            "Answer:",
        }

    def items(self, record: Record, language: str, part: str) -> Sequence[Record]:
        """Return the record with the language in its id, by which the harness tells it."""
        del part
        name, number = _NAMES[language], str(record["id"])
        is_named = number.startswith(f"{name}-")
        return [
            {
                "id": number if is_named else f"{name}-{number}",
                "title": record.get("title", ""),
                "context": record["context"],
                "question": record["question"],
                "answers": hub_answers(record["answers"]),
            }
        ]
