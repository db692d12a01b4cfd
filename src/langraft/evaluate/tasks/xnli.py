"""XNLI: does one sentence follow from another?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langraft.evaluate.benchmark import AbstractBenchmark, Layout

_CODES = ("ar", "bg", "de", "el", "en", "es", "fr", "hi", "ru", "sw", "th", "tr", "ur", "vi", "zh")


class XNLI(AbstractBenchmark):
    """``[premise], right? {Yes/Also/No}, [hypothesis]``, in the words of each language.

    The harness's template and words, as they are (its Arabic "no" is the word for a number).
    PolyLM (arXiv:2307.06018, section 5): a choice scores its log-likelihood per token, on the
    test split.
    Deviations from the harness: per token, and 5,010 test items where it has 2,490 for validation.
    """

    languages: ClassVar[Mapping[str, str]] = {code: code for code in _CODES}
    metric: ClassVar[str] = "acc_per_token,none"
    harness_folders: ClassVar[tuple[str, ...]] = ("xnli",)
    is_per_token: ClassVar[bool] = True
    layout: ClassVar[Layout] = {"premise": str, "hypothesis": str, "label": range(3)}
    test_splits: ClassVar[tuple[str, ...]] = ("test", "", "validation", "dev")

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the harness's task of a language, on the test split."""
        del part
        return {"task": f"xnli_{language}", "test_split": "test"}
