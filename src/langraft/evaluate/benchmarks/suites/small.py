"""What tells models of 100 to 300 million parameters from guessing."""

from collections.abc import Mapping
from typing import ClassVar

from langraft.evaluate.benchmarks.suite import AbstractBenchmarkSuite


class SmallSuite(AbstractBenchmarkSuite):
    """Grammar by minimal pairs, and choices scored by their text; none by a letter.

    At this size models get signal from these and stay at chance in MMLU, XCOPA, Winogrande and
    Belebele by letters. No examples: small models learn little from them, and published numbers
    of SmolLM2-135M have none.
    """

    benchmarks: ClassVar[Mapping[str, int]] = {
        "blimp": 0,
        "multiblimp": 0,
        "turblimp": 0,
        "minimal_pairs": 0,
        "belebele_cloze": 0,
        "arc_easy": 0,
        "hellaswag": 0,
        "piqa": 0,
        "xstorycloze": 0,
    }
