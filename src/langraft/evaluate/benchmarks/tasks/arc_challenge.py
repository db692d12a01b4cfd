"""ARC-Challenge: school science questions, in English and 31 translations."""

from langraft.evaluate.benchmarks.benchmark import (
    AbstractBenchmark,
    Record,
    item_keys,
    language_codes,
)
from langraft.evaluate.benchmarks.kinds.science_questions import science_question

_CODES = (
    "en ar bn ca da de es eu fr gu hi hr hu hy id it kn ml mr ne nl pt ro ru sk sr sv ta te uk vi "
    "zh"
)
_OPTIONS = ("option_a", "option_b", "option_c", "option_d", "option_e")


class ARCChallenge(AbstractBenchmark):
    """The harness's ``arc_challenge`` and Okapi's translations of it, unchanged.

    MoE-LPR (arXiv:2408.11396, section 4): 25 examples, from the training split. The metric is
    accuracy by log-likelihood per character, as leaderboards have it.
    """

    languages = language_codes(_CODES)
    task_name = "arc_{}"
    english_task = "arc_challenge"
    shots = 25
    metric = "acc_norm,none"
    harness_folders = ("arc", "okapi/arc_multilingual")
    layout = item_keys(id=str)
    shot_splits = ("train", "validation", "val", "dev")

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the record with all keys that the harness reads; English has other ones."""
        if language == "en":
            return [science_question(record)]
        options = {key: record.get(key) for key in _OPTIONS}
        if not options[_OPTIONS["ABCDE".index(record["answer"])]]:
            raise ValueError("the answer is none of the options")
        keys = ("id", "instruction", "answer")
        return [{key: str(record[key]) for key in keys} | options]
