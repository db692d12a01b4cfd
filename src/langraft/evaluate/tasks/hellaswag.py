"""HellaSwag: how a scene goes on, in English and 30 translations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langraft.evaluate.benchmark import AbstractBenchmark, Layout, Record

_TRANSLATED = (
    "ar bn ca da de es eu fr gu hi hr hu hy id it kn ml mr ne nl pt ro ru sk sr sv ta te uk vi"
)


class HellaSwag(AbstractBenchmark):
    """The harness's tasks as they are: ``hellaswag``, and Okapi's translations of it.

    MoE-LPR (arXiv:2408.11396, section 4): ten examples; the translations have one split alone,
    whose other items serve. The metric is accuracy by log-likelihood per character, as
    leaderboards have it.
    """

    languages: ClassVar[Mapping[str, str]] = {code: code for code in ["en", *_TRANSLATED.split()]}
    shots: ClassVar[int] = 10
    metric: ClassVar[str] = "acc_norm,none"
    harness_folders: ClassVar[tuple[str, ...]] = ("hellaswag", "okapi/hellaswag_multilingual")
    layout: ClassVar[Layout] = {
        "ctx_a": str,
        "activity_label": str,
        "endings": list,
        "label": ("0", "1", "2", "3"),
    }
    test_splits: ClassVar[tuple[str, ...]] = ("validation", "val", "")
    shot_splits: ClassVar[tuple[str, ...]] = ("train",)

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the harness's task of a language."""
        del part
        return {"task": "hellaswag" if language == "en" else f"hellaswag_{language}"}

    def items(self, record: Record, language: str, part: str) -> Sequence[Record]:
        """Return the keys that are read, with the label as a text."""
        del language, part
        keys = ("ctx_a", "ctx_b", "activity_label", "endings")
        endings = record["endings"]
        if not isinstance(endings, list) or len(endings) != 4:
            raise ValueError("not four endings")
        if not all(isinstance(ending, str) and ending.strip() for ending in endings):
            raise ValueError("not every ending is a text")
        if not isinstance(record["ctx_b"], str):  # empty in many records
            raise ValueError("the value of 'ctx_b' is not a text")
        return [{key: record[key] for key in keys} | {"label": str(record["label"]).strip()}]
