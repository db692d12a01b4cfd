"""MMLU: questions of 57 subjects, in English and 33 translations."""

from collections.abc import Mapping
from typing import ClassVar

from langraft.evaluate.benchmarks.benchmark import AbstractBenchmark, Record, item_keys

_CODES = (
    "ar bn ca da de en es eu fr gu hi hr hu hy id is it kn ml mr ne nl no pt ro ru sk sr sv ta te "
    "uk vi zh"
)


class MMLU(AbstractBenchmark):
    """The harness's ``m_mmlu`` unchanged, for English too, so that languages stay comparable.

    MoE-LPR (arXiv:2408.11396, section 4): five examples, the first of the training split.
    """

    languages: ClassVar[Mapping[str, str]] = {
        code: "nb" if code == "no" else code for code in _CODES.split()
    }
    shots = 5
    task_name = "m_mmlu_{}"
    harness_folders = ("okapi/mmlu_multilingual",)
    layout = item_keys(
        instruction=str,
        option_a=str,
        option_b=str,
        option_c=str,
        option_d=str,
        answer=("A", "B", "C", "D"),
    )
    shot_splits = ("train", "val", "validation", "dev")

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the record with the keys that the harness reads; others differ between files."""
        return [{key: record[key] for key in self.layout}]
