"""Directions between English and another language, and the scores of translations."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

# Words of these are not parted by blanks; sacrebleu's own splitters that need no dictionary.
_SPLITTERS = {"zh": "zh", "zh-Hant": "zh", "ja": "char", "th": "char", "lo": "char", "km": "char"}


def direction(language: str, part: str) -> tuple[str, str]:
    """Return source and target of ``from_en`` or ``to_en``."""
    return ("en", language) if part == "from_en" else (language, "en")


def translation_metrics(target: str) -> list[dict[str, Any]]:
    """Return corpus BLEU, chrF and chrF++ (0..100) as a task's ``metric_list``."""
    bleu = functools.partial(_corpus_bleu, splitter=_SPLITTERS.get(target, "13a"))
    bleu.__name__ = "bleu"  # pyright: ignore[reportAttributeAccessIssue] # the harness prints it
    return [
        {
            "metric": metric,
            "aggregation": bleu if metric == "bleu" and target in _SPLITTERS else metric,
            "higher_is_better": True,
        }
        for metric in ("bleu", "chrf", "chrf++")
    ]


def _corpus_bleu(items: Sequence[tuple[str, str]], *, splitter: str) -> float:
    import sacrebleu

    references = [reference for reference, _ in items]
    predictions = [prediction for _, prediction in items]
    return sacrebleu.corpus_bleu(predictions, [references], tokenize=splitter).score
