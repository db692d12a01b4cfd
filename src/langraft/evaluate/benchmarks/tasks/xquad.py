"""XQuAD: answer a question from a passage, the same in twelve languages."""

import functools
from typing import Any

from langraft.evaluate.benchmarks.benchmark import (
    GREEDY,
    AbstractBenchmark,
    Record,
    item_keys,
    language_codes,
)
from langraft.evaluate.benchmarks.harness_tasks import harness_config
from langraft.evaluate.benchmarks.kinds.extractive_qa import hub_answers, score_answer


class XQuAD(AbstractBenchmark):
    """Passage, question and answer, named in each language in the harness's words.

    One example, another item of the same file; F1.
    Deviation from the harness: answers are compared by the functions of its TyDiQA, since those of
    its XQuAD need a module that transformers 5 no longer has.
    """

    languages = language_codes("ar de el en es hi ro ru th tr vi zh")
    shots = 1
    metric = "f1,none"
    layout = item_keys(context=str, question=str, answers=dict)
    test_splits = ("validation", "dev", "test", "")

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the task of a language."""
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
            "process_results": functools.partial(score_answer, language=language),
            "generation_kwargs": dict(GREEDY),
            "metric_list": [
                {"metric": metric, "aggregation": "mean", "higher_is_better": True}
                for metric in ("exact_match", "f1")
            ],
            "metadata": {"version": 1.0},
        }

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the record with its answers as the hub has them."""
        return [
            {
                "id": str(record["id"]),
                "context": record["context"],
                "question": record["question"],
                "answers": hub_answers(record["answers"]),
            }
        ]
