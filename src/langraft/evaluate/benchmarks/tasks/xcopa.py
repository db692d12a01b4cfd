"""XCOPA: which of two sentences is the cause or the effect of another?"""

from langraft.evaluate.benchmarks.benchmark import AbstractBenchmark, item_keys, language_codes


class XCOPA(AbstractBenchmark):
    """``[prefix] {because/therefore} {choice}``, the connective in the language.

    The harness's task unchanged, which is PolyLM's (arXiv:2307.06018, section 5).
    """

    languages = language_codes("et ht id it qu sw ta th tr vi zh")
    task_name = "xcopa_{}"
    harness_folders = ("xcopa",)
    layout = item_keys(
        premise=str, choice1=str, choice2=str, question=("cause", "effect"), label=range(2)
    )
