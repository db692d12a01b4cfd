"""ARC-Easy: school science questions that a look-up answers."""

from langraft.evaluate.benchmarks.benchmark import (
    AbstractBenchmark,
    Record,
    item_keys,
    language_codes,
)
from langraft.evaluate.benchmarks.kinds.science_questions import science_question


class ARCEasy(AbstractBenchmark):
    """The harness's ``arc_easy`` unchanged, which is a cloze: ``Question: [..]``, ``Answer: [..]``.

    The metric is accuracy by log-likelihood per character, as of ``arc_challenge`` and as small
    models' cards print it.
    """

    languages = language_codes("en")
    task_name = "arc_easy"
    metric = "acc_norm,none"
    harness_folders = ("arc",)
    layout = item_keys(id=str)
    shot_splits = ("train", "validation", "val", "dev")

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the record with the keys that the harness reads."""
        return [science_question(record)]
