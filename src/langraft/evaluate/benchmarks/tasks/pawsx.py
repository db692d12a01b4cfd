"""PAWS-X: do two sentences mean the same?"""

from langraft.evaluate.benchmarks.benchmark import (
    AbstractBenchmark,
    Record,
    item_keys,
    language_codes,
)


class PawsX(AbstractBenchmark):
    """``[sentence 1], right? {Yes/No}, [sentence 2]``, in the words of each language.

    The harness's task unchanged, which is PolyLM's (arXiv:2307.06018, section 5). Records with an
    empty sentence, of which the published files have a few, are left out as the harness does.
    """

    languages = language_codes("de en es fr ja ko zh")
    task_name = "paws_{}"
    harness_folders = ("paws-x",)
    layout = item_keys(sentence1=str, sentence2=str, label=range(2))

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the record, or nothing where a sentence is empty."""
        sentences = (record["sentence1"], record["sentence2"])
        return [] if any(sentence in (None, "") for sentence in sentences) else [record]
