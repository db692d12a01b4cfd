"""Minimal pairs of your own, in any language that one file is there for."""

from collections.abc import Mapping
from typing import Any, ClassVar

from langraft.core.language import known_languages
from langraft.evaluate.benchmarks.kinds.minimal_pairs import AbstractMinimalPairs


class MinimalPairs(AbstractMinimalPairs):
    """Any file of right and wrong sentences, in the layout and by the rules of BLiMP.

    For what is not in ``multiblimp``: RuBLiMP, JBLiMP, BLiMP-NL, or pairs that a speaker wrote.
    """

    languages: ClassVar[Mapping[str, str]] = {code: code for code in known_languages()}
    has_hub_data = False

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the task of a language; a sentence stands alone, without a blank before it."""
        return {
            "task": f"minimal_pairs_{language}",
            "output_type": "multiple_choice",
            "doc_to_text": "",
            "target_delimiter": "",
            "doc_to_target": 0,
            "doc_to_choice": "{{[sentence_good, sentence_bad]}}",
            "metric_list": [
                {"metric": metric, "aggregation": "mean", "higher_is_better": True}
                for metric in ("acc", "acc_norm")
            ],
            "metadata": {"version": 1.0},
        }
