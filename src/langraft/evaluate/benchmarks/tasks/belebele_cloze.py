"""Belebele as a cloze: questions on passages of FLORES, the answer's text scored."""

from typing import Any

from langraft.evaluate.benchmarks.benchmark import AbstractBenchmark, Record
from langraft.evaluate.benchmarks.kinds import passages
from langraft.evaluate.benchmarks.kinds.flores_languages import flores_languages


class BelebeleCloze(AbstractBenchmark):
    """``P: [passage]``, ``Q: [question]``, ``A:`` and the text of each of four answers.

    Models below a billion parameters do not tie an answer to its letter, so that ``belebele``
    stays at chance for them. The harness lacks this form; the words are those of its own.
    The metric is accuracy by log-likelihood per character: answers differ in length, and tokens
    would change with a tokenizer that is extended.
    """

    languages = flores_languages()
    layout = passages.LAYOUT
    metric = "acc_norm,none"
    other_folders = ("belebele",)

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the task of a language."""
        return {
            "task": f"belebele_cloze_{self.languages[language]}",
            "dataset_path": "facebook/belebele",
            "dataset_name": self.languages[language],
            "output_type": "multiple_choice",
            "test_split": "test",
            "fewshot_split": "test",
            "fewshot_config": {"sampler": "first_n"},
            "doc_to_text": "P: {{flores_passage}}\nQ: {{question.strip()}}\nA:",
            "doc_to_target": "{{['1', '2', '3', '4'].index(correct_answer_num)}}",
            "doc_to_choice": "{{[mc_answer1, mc_answer2, mc_answer3, mc_answer4]}}",
            "metric_list": [
                {"metric": metric, "aggregation": "mean", "higher_is_better": True}
                for metric in ("acc", "acc_norm")
            ],
            "metadata": {"version": 1.0},
        }

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the record, or one item for each question of a passage that has ``items``."""
        return passages.questions(record)
