"""XNLI: does one sentence follow from another?"""

from typing import Any

from langraft.evaluate.benchmarks.benchmark import AbstractBenchmark, item_keys, language_codes


class XNLI(AbstractBenchmark):
    """``[premise], right? {Yes/Also/No}, [hypothesis]``, in the words of each language.

    The harness's template and words, unchanged (its Arabic "no" is the word for a number).
    PolyLM (arXiv:2307.06018, section 5): a choice scores its log-likelihood per token, on the
    test split.
    Deviations from the harness: per token, and 5,010 test items where it has 2,490 for validation.
    """

    languages = language_codes("ar bg de el en es fr hi ru sw th tr ur vi zh")
    metric = "acc_per_token,none"
    task_name = "xnli_{}"
    harness_folders = ("xnli",)
    is_per_token = True
    layout = item_keys(premise=str, hypothesis=str, label=range(3))
    test_splits = ("test", "", "validation", "dev")

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the harness's task of a language, on the test split."""
        return super().config(language, part) | {"test_split": "test"}
