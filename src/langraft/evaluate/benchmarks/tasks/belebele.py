"""Belebele: questions on passages of FLORES, the same in 111 languages."""

from langraft.evaluate.benchmarks.benchmark import AbstractBenchmark, Record
from langraft.evaluate.benchmarks.kinds import passages
from langraft.evaluate.benchmarks.kinds.flores_languages import flores_languages


class Belebele(AbstractBenchmark):
    """The harness's task unchanged: four answers, scored by their letters.

    MoE-LPR (arXiv:2408.11396, section 4): five examples, the first other items of its only split.
    """

    languages = flores_languages()
    shots = 5
    task_name = "belebele_{}"
    harness_folders = ("belebele",)
    layout = passages.LAYOUT

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the record, or one item for each question of a passage that has ``items``."""
        return passages.questions(record)
