"""PAWS-X: do two sentences mean the same?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langraft.evaluate.benchmark import AbstractBenchmark, Layout, Record

_CODES = ("de", "en", "es", "fr", "ja", "ko", "zh")


class PawsX(AbstractBenchmark):
    """``[sentence 1], right? {Yes/No}, [sentence 2]``, in the words of each language.

    The harness's task as it is, which is PolyLM's (arXiv:2307.06018, section 5). Records with an
    empty sentence, of which the published files have a few, are left out as the harness does.
    """

    languages: ClassVar[Mapping[str, str]] = {code: code for code in _CODES}
    harness_folders: ClassVar[tuple[str, ...]] = ("paws-x",)
    layout: ClassVar[Layout] = {"sentence1": str, "sentence2": str, "label": range(2)}

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the harness's task of a language."""
        del part
        return {"task": f"paws_{language}"}

    def items(self, record: Record, language: str, part: str) -> Sequence[Record]:
        """Return the record, or nothing where a sentence is empty."""
        del language, part
        sentences = (record["sentence1"], record["sentence2"])
        return [] if any(sentence in (None, "") for sentence in sentences) else [record]
