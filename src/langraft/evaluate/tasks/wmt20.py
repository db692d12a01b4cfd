"""WMT20: news translated between English and four languages, both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langraft.core.language import language_name
from langraft.evaluate.benchmark import GREEDY, AbstractBenchmark, Layout, Record
from langraft.evaluate.translation import direction, translation_metrics

_CODES = ("de", "ja", "ru", "zh")


class WMT20(AbstractBenchmark):
    """``[input] Translate this sentence from [SRC] to [TGT].``, SacreBLEU.

    PolyLM (arXiv:2307.06018, section 5): one example. Chinese is split with sacrebleu's ``zh``.
    Deviations: Japanese by characters where the paper's signature is not known, so that no
    dictionary is needed; the example comes from the scored file where none of ``dev`` is there.
    A line of ``wmt20/en-de.test.jsonl`` has the keys ``en`` and ``de``; the files of the other
    direction, ``de-en``, are other texts.
    """

    languages: ClassVar[Mapping[str, str]] = {code: code for code in _CODES}
    shots: ClassVar[int] = 1
    metric: ClassVar[str] = "bleu,none"
    parts: ClassVar[tuple[str, ...]] = ("from_en", "to_en")
    layout: ClassVar[Layout] = {"source": str, "target": str}
    shot_splits: ClassVar[tuple[str, ...]] = ("dev", "validation", "train")
    has_hub_data: ClassVar[bool] = False

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the task of a direction."""
        source, target = direction(language, part)
        return {
            "task": f"wmt20_{source}-{target}",
            "output_type": "generate_until",
            "doc_to_text": "{{source}} Translate this sentence from "
            f"{language_name(source)} to {language_name(target)}.",
            "doc_to_target": "{{target}}",
            "target_delimiter": "\n",
            "generation_kwargs": dict(GREEDY),
            "metric_list": translation_metrics(target),
            "metadata": {"version": 1.0},
        }

    def stems(self, language: str, part: str) -> tuple[str, ...]:
        """Return the direction, which is how files are named."""
        return ("-".join(direction(language, part)),)

    def items(self, record: Record, language: str, part: str) -> Sequence[Record]:
        """Return both sides of a pair, whose keys may stand below ``translation``."""
        source, target = direction(language, part)
        pair = record.get("translation", record)
        return [{"source": pair[source], "target": pair[target]}]
