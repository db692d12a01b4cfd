"""PIQA: which of two ways to do an everyday thing works?"""

from langraft.evaluate.benchmarks.benchmark import (
    AbstractBenchmark,
    Record,
    item_keys,
    language_codes,
)


class PIQA(AbstractBenchmark):
    """The harness's ``piqa`` unchanged: ``Question: [goal]``, ``Answer: [solution]``.

    The metric is accuracy by log-likelihood per character, as small models' cards print it.
    """

    languages = language_codes("en")
    task_name = "piqa"
    metric = "acc_norm,none"
    harness_folders = ("piqa",)
    layout = item_keys(goal=str, sol1=str, sol2=str, label=range(2))
    test_splits = ("validation", "val", "test", "")
    shot_splits = ("train",)

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the record with the keys that the harness reads."""
        return [{key: record[key] for key in self.layout}]
