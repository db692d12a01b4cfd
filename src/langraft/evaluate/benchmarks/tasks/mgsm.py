"""MGSM: word problems of primary school arithmetic, in eleven languages."""

import re

from langraft.evaluate.benchmarks.benchmark import (
    AbstractBenchmark,
    Record,
    item_keys,
    language_codes,
)

_NUMBER = re.compile(r"-?[0-9][0-9,]*")


class MGSM(AbstractBenchmark):
    """The harness's ``mgsm_direct``: the answer alone, without the steps to it.

    Eight examples, those of the publication (arXiv:2210.03057); exact match of the last number.
    """

    languages = language_codes("bn de en es fr ja ru sw te th zh")
    shots = 8
    metric = "exact_match,flexible-extract"
    task_name = "mgsm_direct_{}"
    harness_folders = ("mgsm",)
    layout = item_keys(question=str, answer_number=int)
    shot_splits = ("train", "")

    def shot_stems(self, language: str, part: str) -> tuple[str, ...]:
        """Return the language, or the one file that has the examples of all."""
        return (language, "exemplars") if not part else ()

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the record; in the release, answers are texts and examples have ``q`` and ``a``.

        The harness tells an example, whose question begins with that word, by its ``answer``.
        """
        if "q" in record:
            if record["lang"] != language:
                return []
            number = _NUMBER.findall(record["a"])[-1]
            return [_item(record["q"], record["a"], number)]
        if "answer_number" in record:
            return [_item(record["question"], record["answer"], str(record["answer_number"]))]
        return [_item(record["question"], None, record["answer"])]


def _item(question: str, answer: str | None, number: str) -> Record:
    return {
        "question": question,
        "answer": answer,
        "answer_number": int(number.replace(",", "")),
    }
