"""XCOPA: which of two sentences is the cause or the effect of another?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from langraft.evaluate.benchmark import AbstractBenchmark, Layout

_CODES = ("et", "ht", "id", "it", "qu", "sw", "ta", "th", "tr", "vi", "zh")


class XCOPA(AbstractBenchmark):
    """``[prefix] {because/therefore} {choice}``, the connective in the language.

    The harness's task as it is, which is PolyLM's (arXiv:2307.06018, section 5).
    """

    languages: ClassVar[Mapping[str, str]] = {code: code for code in _CODES}
    harness_folders: ClassVar[tuple[str, ...]] = ("xcopa",)
    layout: ClassVar[Layout] = {
        "premise": str,
        "choice1": str,
        "choice2": str,
        "question": ("cause", "effect"),
        "label": range(2),
    }

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the harness's task of a language."""
        del part
        return {"task": f"xcopa_{language}"}
