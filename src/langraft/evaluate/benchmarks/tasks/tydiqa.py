"""TyDiQA-GoldP: answer a question from a passage, in nine languages."""

from typing import Any

from langraft.core.language import language_name
from langraft.evaluate.benchmarks.benchmark import AbstractBenchmark, Record, item_keys
from langraft.evaluate.benchmarks.kinds.extractive_qa import hub_answers

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

    PolyLM (arXiv:2307.06018, section 5): one example, F1. The paper prints only the first
    sentence of its prompt; the labels ``Context``, ``Question`` and ``Answer`` are ours.
    Deviation from the harness: its own prompt is in each language and has no instruction.
    """

    languages = _NAMES
    shots = 1
    metric = "f1,none"
    harness_folders = ("tydiqa",)
    layout = item_keys(context=str, question=str, answers=dict)
    test_splits = ("validation", "dev", "")
    shot_splits = ("train",)

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the harness's task of a language with PolyLM's prompt."""
        return {
            "task": f"tydiqa_goldp_{language}",
            "doc_to_text": "Read the context and answer the question in one or a few words in "
            f"{language_name(language)}.\nContext: {{{{context}}}}\nQuestion: {{{{question}}}}\n"
            "Answer:",
        }

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the record with the language in its id, where the harness looks for it."""
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
