"""Answers found in a passage: their layout, and F1 as lm-evaluation-harness has it."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping, Sequence
from typing import Any


def hub_answers(answers: Any) -> dict[str, list[str]]:
    """Return answers as the hub has them: ``{"text": [...]}``.

    Args:
        answers: So already, or a list of objects with ``text``, as SQuAD's own files have them.

    Raises:
        KeyError, TypeError, ValueError: when there is none, or one that is no text.
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

    The functions are those of the harness's TyDiQA, which leave out a language's articles and all
    punctuation of Unicode.
    """
    tydiqa = importlib.import_module("lm_eval.tasks.tydiqa.utils")
    return tydiqa.process_results_lang({"answers": item["answers"]["text"]}, predictions, language)


def answer_scorer(language: str) -> functools.partial[dict[str, float]]:
    """Return ``score_answer`` of a language, as a task's ``process_results``."""
    return functools.partial(score_answer, language=language)
