"""The mean of Rouge-1, 2 and L, in any script."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

_KINDS = ("rouge1", "rouge2", "rougeL")


class _Splitter:
    """Splits text into words for rouge-score, whose own splitter knows only ASCII."""

    def __init__(self, language: str) -> None:
        from sacrebleu.tokenizers.tokenizer_intl import TokenizerV14International
        from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

        self._split = TokenizerZh() if language == "zh" else TokenizerV14International()

    def tokenize(self, text: str) -> list[str]:
        return self._split(text.lower()).split()


def rouge_scorer(language: str) -> functools.partial[dict[str, float]]:
    """Return the ``process_results`` of a task in a language."""
    return functools.partial(_score, language=language)


def _score(
    item: Mapping[str, Any], predictions: Sequence[str], *, language: str
) -> dict[str, float]:
    """Return the mean F of the three (0..1) against ``target``."""
    scores = _scorer(language).score(item["target"], predictions[0])
    return {"rouge": sum(scores[kind].fmeasure for kind in _KINDS) / len(_KINDS)}


@functools.cache
def _scorer(language: str) -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(_KINDS), tokenizer=_Splitter(language))
