"""SIB-200: the topic of a sentence, in 111 of its languages."""

from typing import Any

from langraft.evaluate.benchmarks.benchmark import AbstractBenchmark, item_keys
from langraft.evaluate.benchmarks.kinds.flores_languages import flores_languages

_CATEGORIES = (
    "science/technology",
    "travel",
    "politics",
    "sports",
    "health",
    "entertainment",
    "geography",
)


class SIB200(AbstractBenchmark):
    """``[sentence]``, ``Topic: {one of seven}``; five examples from the training split.

    The harness lacks it; the prompt is ours, with the names of topics in English.
    """

    languages = flores_languages()
    shots = 5
    layout = item_keys(text=str, category=_CATEGORIES)
    test_splits = ("test", "dev", "validation", "")
    shot_splits = ("train",)

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the task of a language."""
        return {
            "task": f"sib200_{self.languages[language]}",
            "dataset_path": "Davlan/sib200",
            "dataset_name": self.languages[language],
            "output_type": "multiple_choice",
            "test_split": "test",
            "fewshot_split": "train",
            "doc_to_text": "{{text}}\nTopic:",
            "doc_to_target": "{{category}}",
            "doc_to_choice": list(_CATEGORIES),
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
            "metadata": {"version": 1.0},
        }
