"""FLORES: sentences translated between English and 110 languages, both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from langraft.core.language import language_name
from langraft.evaluate.benchmark import GREEDY, AbstractBenchmark, Layout, Record
from langraft.evaluate.flores_languages import flores_languages
from langraft.evaluate.translation import direction, translation_metrics

_NAMES = {code: name for code, name in flores_languages().items() if code != "en"}


class Flores(AbstractBenchmark):
    """``English sentence: ...``, ``Greek sentence:``, the harness's prompt for FLORES.

    MoE-LPR (arXiv:2408.11396, section 4): eight examples, from the ``dev`` split.
    Deviations: chrF, with BLEU and chrF++ beside it, where the paper has COMET, which is a model of
    its own. spBLEU is left out: sacrebleu fetches its tokenizer from the network. The harness's
    data set is a script, which datasets 4 no longer runs: local files alone.
    """

    languages: ClassVar[Mapping[str, str]] = _NAMES
    shots: ClassVar[int] = 8
    metric: ClassVar[str] = "chrf,none"
    parts: ClassVar[tuple[str, ...]] = ("from_en", "to_en")
    layout: ClassVar[Layout] = {"source": str, "target": str}
    test_splits: ClassVar[tuple[str, ...]] = ("devtest", "test", "")
    shot_splits: ClassVar[tuple[str, ...]] = ("dev",)
    other_folders: ClassVar[tuple[str, ...]] = ("flores200", "flores_v1")
    has_hub_data: ClassVar[bool] = False

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the task of a direction."""
        source, target = direction(language, part)
        return {
            "task": f"flores_{source}-{target}",
            "output_type": "generate_until",
            "doc_to_text": f"{language_name(source)} sentence: {{{{source}}}}\n"
            f"{language_name(target)} sentence:",
            "doc_to_target": "{{target}}",
            "target_delimiter": " ",
            "generation_kwargs": dict(GREEDY),
            "metric_list": translation_metrics(target),
            "metadata": {"version": 1.0},
        }

    def stems(self, language: str, part: str) -> tuple[str, ...]:
        """Return how files of pairs are named; both directions share one."""
        del part
        return (f"en-{language}", f"eng_Latn-{_NAMES[language]}", language)

    def items(self, record: Record, language: str, part: str) -> Sequence[Record]:
        """Return both sides of a pair, under language codes or as the hub names them."""
        names = {"en": "eng_Latn"} | _NAMES
        source, target = (
            record[code] if code in record else record[f"sentence_{names[code]}"]
            for code in direction(language, part)
        )
        return [{"source": source, "target": target}]
