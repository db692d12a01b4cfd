"""Extractive question answering: the layout of answers, and F1 as in lm-evaluation-harness."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any


def hub_answers(answers: Any) -> dict[str, list[str]]:
    """Return answers in the layout of the hub: ``{"text": [...]}``.

    Args:
        answers: In that layout, or a list of objects with ``text`` as in SQuAD's own files.

    Raises:
        KeyError, TypeError, ValueError: when there is no answer, or one is not a text.
    """
    found = answers["text"] if isinstance(answers, Mapping) else [each["text"] for each in answers]
    if not isinstance(found, list):
        raise ValueError("the answers are not a list of texts")
    if not found:
        raise ValueError("no answer")
    if not all(isinstance(text, str) and text.strip() for text in found):
        raise ValueError("not every answer is a text")
    return {"text": found}


def score_answer(
    item: Mapping[str, Any], predictions: Sequence[str], *, language: str
) -> dict[str, float]:
    """Return exact match and F1 (0..1), the best over the answers of an item.

    As the harness does for TyDiQA: without a language's articles and all Unicode punctuation.
    """
    tydiqa = importlib.import_module("lm_eval.tasks.tydiqa.utils")
    return tydiqa.process_results_lang({"answers": item["answers"]["text"]}, predictions, language)
