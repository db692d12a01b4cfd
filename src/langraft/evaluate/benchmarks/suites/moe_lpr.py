"""The benchmark of MoE-LPR (arXiv:2408.11396, section 4)."""

from collections.abc import Mapping
from typing import ClassVar

from langraft.evaluate.benchmarks.suite import AbstractBenchmarkSuite


class MoELPRSuite(AbstractBenchmarkSuite):
    """Five tasks with the paper's numbers of examples.

    Deviation: FLORES is scored with chrF, where the paper has COMET, which is a model of its own.
    """

    benchmarks: ClassVar[Mapping[str, int]] = {
        "arc_challenge": 25,
        "mmlu": 5,
        "hellaswag": 10,
        "belebele": 5,
        "flores": 8,
    }
