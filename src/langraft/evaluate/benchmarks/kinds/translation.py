"""Translation between English and another language: prompts and metrics."""

from __future__ import annotations

import functools
from abc import ABC
from collections.abc import Sequence
from typing import Any, ClassVar

from langraft.core.language import language_name
from langraft.evaluate.benchmarks.benchmark import GREEDY, AbstractBenchmark, item_keys

# sacrebleu's tokenizers, without a dictionary, for languages that put no spaces between words
_SPLITTERS = {"zh": "zh", "zh-Hant": "zh", "ja": "char", "th": "char", "lo": "char", "km": "char"}


class AbstractTranslation(AbstractBenchmark, ABC):
    """Sentences translated from and into English; items have ``source`` and ``target``.

    Attributes:
        prompt: Jinja template of an item; [SRC] and [TGT] become the names of the languages.
        delimiter: What separates prompt and translation in examples.
    """

    prompt: ClassVar[str]
    delimiter: ClassVar[str]
    parts = ("from_en", "to_en")
    layout = item_keys(source=str, target=str)
    has_hub_data = False

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the task of a direction."""
        source, target = direction(language, part)
        prompt = self.prompt.replace("[SRC]", language_name(source))
        return {
            "task": self.task_name.format(f"{source}-{target}"),
            "output_type": "generate_until",
            "doc_to_text": prompt.replace("[TGT]", language_name(target)),
            "doc_to_target": "{{target}}",
            "target_delimiter": self.delimiter,
            "generation_kwargs": dict(GREEDY),
            "metric_list": translation_metrics(target),
            "metadata": {"version": 1.0},
        }


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
