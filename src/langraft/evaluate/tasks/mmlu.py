"""MMLU: questions of 57 subjects, in English and 33 translations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langraft.evaluate.benchmark import AbstractBenchmark, Layout, Record

_CODES = (
    "ar bn ca da de en es eu fr gu hi hr hu hy id is it kn ml mr ne nl no pt ro ru sk sr sv ta te "
    "uk vi zh"
)


class MMLU(AbstractBenchmark):
    """The harness's ``m_mmlu`` as it is, for English too, so that languages stay comparable.

    MoE-LPR (arXiv:2408.11396, section 4): five examples, the first of the training split.
    """

    languages: ClassVar[Mapping[str, str]] = {
        code: "nb" if code == "no" else code for code in _CODES.split()
    }
    shots: ClassVar[int] = 5
    harness_folders: ClassVar[tuple[str, ...]] = ("okapi/mmlu_multilingual",)
    layout: ClassVar[Layout] = {
        "instruction": str,
        "option_a": str,
        "option_b": str,
        "option_c": str,
        "option_d": str,
        "answer": ("A", "B", "C", "D"),
    }
    shot_splits: ClassVar[tuple[str, ...]] = ("train", "val", "validation", "dev")

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the harness's task of a language."""
        del part
        return {"task": f"m_mmlu_{self.languages[language]}"}

    def items(self, record: Record, language: str, part: str) -> Sequence[Record]:
        """Return the keys that are read; others differ between files."""
        del language, part
        return [{key: record[key] for key in self.layout}]
