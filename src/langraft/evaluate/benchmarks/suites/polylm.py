"""The benchmark of PolyLM (arXiv:2307.06018, section 5)."""

from collections.abc import Mapping
from typing import ClassVar

from langraft.evaluate.benchmarks.suite import AbstractBenchmarkSuite


class PolyLMSuite(AbstractBenchmarkSuite):
    """Seven tasks: understanding without examples, the others with one."""

    benchmarks: ClassVar[Mapping[str, int]] = {
        "xnli": 0,
        "xcopa": 0,
        "pawsx": 0,
        "xwinograd": 0,
        "tydiqa": 1,
        "mtg": 1,
        "wmt20": 1,
    }
