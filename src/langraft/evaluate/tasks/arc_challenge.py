"""ARC-Challenge: science questions of school, in English and 31 translations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langraft.evaluate.benchmark import AbstractBenchmark, Layout, Record

_TRANSLATED = (
    "ar bn ca da de es eu fr gu hi hr hu hy id it kn ml mr ne nl pt ro ru sk sr sv ta te uk vi zh"
)
_OPTIONS = ("option_a", "option_b", "option_c", "option_d", "option_e")


class ARCChallenge(AbstractBenchmark):
    """The harness's tasks as they are: ``arc_challenge``, and Okapi's translations of it.

    MoE-LPR (arXiv:2408.11396, section 4): 25 examples, from the training split. The metric is
    accuracy by log-likelihood per character, as leaderboards have it.
    """

    languages: ClassVar[Mapping[str, str]] = {code: code for code in ["en", *_TRANSLATED.split()]}
    shots: ClassVar[int] = 25
    metric: ClassVar[str] = "acc_norm,none"
    harness_folders: ClassVar[tuple[str, ...]] = ("arc", "okapi/arc_multilingual")
    layout: ClassVar[Layout] = {"id": str}
    shot_splits: ClassVar[tuple[str, ...]] = ("train", "validation", "val", "dev")

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the harness's task of a language."""
        del part
        return {"task": "arc_challenge" if language == "en" else f"arc_{language}"}

    def items(self, record: Record, language: str, part: str) -> Sequence[Record]:
        """Return the record with all keys that the harness reads; English has other ones."""
        del part
        if language == "en":
            texts, labels = record["choices"]["text"], record["choices"]["label"]
            labels.index(record["answerKey"])
            if len(texts) != len(labels) or not all(isinstance(text, str) for text in texts):
                raise ValueError("not every choice is a text")
            keys = ("id", "question", "choices", "answerKey")
            return [{key: record[key] for key in keys}]
        options = {key: record.get(key) for key in _OPTIONS}
        if not options[_OPTIONS["ABCDE".index(record["answer"])]]:
            raise ValueError("the answer is none of the options")
        keys = ("id", "instruction", "answer")
        return [{key: str(record[key]) for key in keys} | options]
