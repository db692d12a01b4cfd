"""MGSM: sums of primary school in words, in eleven languages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langraft.evaluate.benchmark import AbstractBenchmark, Layout, Record

_CODES = ("bn", "de", "en", "es", "fr", "ja", "ru", "sw", "te", "th", "zh")
_NUMBER = re.compile(r"-?[0-9][0-9,]*")


class MGSM(AbstractBenchmark):
    """The harness's ``mgsm_direct``: the answer at once, without the way to it.

    Eight examples, those of the publication (arXiv:2210.03057); exact match of the last number.
    """

    languages: ClassVar[Mapping[str, str]] = {code: code for code in _CODES}
    shots: ClassVar[int] = 8
    metric: ClassVar[str] = "exact_match,flexible-extract"
    harness_folders: ClassVar[tuple[str, ...]] = ("mgsm",)
    layout: ClassVar[Layout] = {"question": str, "answer_number": int}
    shot_splits: ClassVar[tuple[str, ...]] = ("train", "")

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the harness's task of a language."""
        del part
        return {"task": f"mgsm_direct_{language}"}

    def shot_stems(self, language: str, part: str) -> tuple[str, ...]:
        """Return the language, or the one file that has the examples of all."""
        return (language, "exemplars") if not part else ()

    def items(self, record: Record, language: str, part: str) -> Sequence[Record]:
        """Return the record; in the release, answers are texts and examples have ``q`` and ``a``.

        The harness tells an example, whose question begins with that word, by its ``answer``.
        """
        del part
        if "q" in record:
            if record["lang"] != language:
                return []
            number = _NUMBER.findall(record["a"])[-1]
            return [_item(record["q"], record["a"], number)]
        if "answer_number" in record:
            return [_item(record["question"], record["answer"], str(record["answer_number"]))]
        return [_item(record["question"], None, record["answer"])]


def _item(question: str, answer: str | None, number: str) -> Record:
    return {
        "question": question,
        "answer": answer,
        "answer_number": int(number.replace(",", "")),
    }
