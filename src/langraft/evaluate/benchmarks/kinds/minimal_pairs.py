"""Minimal pairs: two sentences that differ in one point of grammar, one of them right."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar

from langraft.evaluate.benchmarks.benchmark import AbstractBenchmark, Record, item_keys

# As BLiMP, MultiBLiMP and plain files call them.
_RIGHT = ("sentence_good", "sen", "good")
_WRONG = ("sentence_bad", "wrong_sen", "bad")
_PHENOMENON = ("UID", "phenomenon")
_ALL = "all"  # phenomenon of pairs whose file names none


class AbstractMinimalPairs(AbstractBenchmark, ABC):
    """Which of two whole sentences is likelier? Guessing gets half of the pairs.

    The metric is accuracy by the sum of a sentence's log-likelihoods, as the papers of BLiMP,
    MultiBLiMP and TurBLiMP have it. Divided by tokens, it would change with a tokenizer that is
    extended; divided by characters it stands beside as ``acc_norm``, but in BLiMP.

    The harness's own pairs are of one phenomenon a task, or without; ours know each pair's
    phenomenon, so that a limit takes the first pairs of each.

    Attributes:
        pair_keys: What the harness calls the right and the wrong sentence.
    """

    pair_keys: ClassVar[tuple[str, str]] = ("sentence_good", "sentence_bad")
    metric = "acc,none"
    subset_key = "UID"
    is_plain_text = True
    layout = item_keys(UID=str, sentence_good=str, sentence_bad=str)
    test_splits = ("test", "train", "")

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the pair with its phenomenon, or nothing where both sentences are equal."""
        right, wrong = _first(record, _RIGHT), _first(record, _WRONG)
        if right == wrong:
            return []
        phenomenon = next((record[key] for key in _PHENOMENON if key in record), _ALL)
        key_right, key_wrong = self.pair_keys
        return [{self.subset_key: phenomenon, key_right: right, key_wrong: wrong}]


def _first(record: Record, keys: tuple[str, ...]) -> Any:
    """Return the value of the first key that a record has; KeyError names the best one."""
    return record[next((key for key in keys if key in record), keys[0])]
