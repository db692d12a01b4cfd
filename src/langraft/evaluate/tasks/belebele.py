"""Belebele: questions on passages of FLORES, the same in 111 languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langraft.evaluate.benchmark import AbstractBenchmark, Layout, Record
from langraft.evaluate.flores_languages import flores_languages


class Belebele(AbstractBenchmark):
    """The harness's task as it is: four answers, scored by their letters.

    MoE-LPR (arXiv:2408.11396, section 4): five examples, the first other items of the one split.
    """

    languages: ClassVar[Mapping[str, str]] = flores_languages()
    shots: ClassVar[int] = 5
    harness_folders: ClassVar[tuple[str, ...]] = ("belebele",)
    layout: ClassVar[Layout] = {
        "flores_passage": str,
        "question": str,
        "mc_answer1": str,
        "mc_answer2": str,
        "mc_answer3": str,
        "mc_answer4": str,
        "correct_answer_num": ("1", "2", "3", "4"),
    }

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the harness's task of a language."""
        del part
        return {"task": f"belebele_{self.languages[language]}"}

    def items(self, record: Record, language: str, part: str) -> Sequence[Record]:
        """Return the record, or one item for each question of a passage that has ``items``."""
        del language, part
        if "items" not in record:
            number = str(record["correct_answer_num"])
            return [{key: record[key] for key in self.layout} | {"correct_answer_num": number}]
        return [_item(record["text"], question) for question in record["items"]]


def _item(passage: str, found: Mapping[str, Any]) -> Record:
    one, two, three, four = found["answers"]
    (right,) = (n for n, a in enumerate((one, two, three, four), start=1) if a["correct"])
    return {
        "flores_passage": passage,
        "question": found["question"],
        "mc_answer1": one["text"],
        "mc_answer2": two["text"],
        "mc_answer3": three["text"],
        "mc_answer4": four["text"],
        "correct_answer_num": str(right),
    }
