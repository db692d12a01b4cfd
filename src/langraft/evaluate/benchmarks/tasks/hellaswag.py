"""HellaSwag: choose how a scene continues, in English and 30 translations."""

from langraft.evaluate.benchmarks.benchmark import (
    AbstractBenchmark,
    Record,
    item_keys,
    language_codes,
)

_CODES = (
    "en ar bn ca da de es eu fr gu hi hr hu hy id it kn ml mr ne nl pt ro ru sk sr sv ta te uk vi"
)


class HellaSwag(AbstractBenchmark):
    """The harness's ``hellaswag`` and Okapi's translations of it, unchanged.

    MoE-LPR (arXiv:2408.11396, section 4): ten examples; the translations have a single split, so
    examples are its other items. The metric is accuracy by log-likelihood per character, as
    leaderboards have it.
    """

    languages = language_codes(_CODES)
    task_name = "hellaswag_{}"
    english_task = "hellaswag"
    shots = 10
    metric = "acc_norm,none"
    harness_folders = ("hellaswag", "okapi/hellaswag_multilingual")
    layout = item_keys(ctx_a=str, activity_label=str, endings=list, label=("0", "1", "2", "3"))
    test_splits = ("validation", "val", "")
    shot_splits = ("train",)

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the record with the keys that the harness reads and its label as text."""
        keys = ("ctx_a", "ctx_b", "activity_label", "endings")
        endings = record["endings"]
        if not isinstance(endings, list) or len(endings) != 4:
            raise ValueError("not four endings")
        if not all(isinstance(ending, str) and ending.strip() for ending in endings):
            raise ValueError("not every ending is a text")
        if not isinstance(record["ctx_b"], str):  # empty in many records
            raise ValueError("the value of 'ctx_b' is not a text")
        return [{key: record[key] for key in keys} | {"label": str(record["label"]).strip()}]
