"""XQuAD: answer a question from a passage, the same in twelve languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langraft.evaluate.benchmark import GREEDY, AbstractBenchmark, Layout, Record
from langraft.evaluate.harness_tasks import harness_config
from langraft.evaluate.passage_answers import answer_scorer, hub_answers

_CODES = ("ar", "de", "el", "en", "es", "hi", "ro", "ru", "th", "tr", "vi", "zh")


class XQuAD(AbstractBenchmark):
    """Passage, question and answer, named in each language in the harness's words.

    One example, from the same file but not the item itself; F1.
    Deviation from the harness: answers are compared by the functions of its TyDiQA, since those of
    its XQuAD need a module that transformers 5 no longer has.
    """

    languages: ClassVar[Mapping[str, str]] = {code: code for code in _CODES}
    shots: ClassVar[int] = 1
    metric: ClassVar[str] = "f1,none"
    layout: ClassVar[Layout] = {"context": str, "question": str, "answers": dict}
    test_splits: ClassVar[tuple[str, ...]] = ("validation", "dev", "test", "")

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the task of a language."""
        del part
        name = f"xquad_{language}"
        return {
            "task": name,
            "dataset_path": "google/xquad",
            "dataset_name": f"xquad.{language}",
            "output_type": "generate_until",
            "test_split": "validation",
            "fewshot_split": "validation",
            "doc_to_text": harness_config("xquad", name)["doc_to_text"],
            "doc_to_target": "{{answers['text'][0]}}",
            "process_results": answer_scorer(language),
            "generation_kwargs": dict(GREEDY),
            "metric_list": [
                {"metric": metric, "aggregation": "mean", "higher_is_better": True}
                for metric in ("exact_match", "f1")
            ],
            "metadata": {"version": 1.0},
        }

    def items(self, record: Record, language: str, part: str) -> Sequence[Record]:
        """Return the record with its answers as the hub has them."""
        del language, part
        return [
            {
                "id": str(record["id"]),
                "context": record["context"],
                "question": record["question"],
                "answers": hub_answers(record["answers"]),
            }
        ]
