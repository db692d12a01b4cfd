"""XStoryCloze: which of two endings is that of a story of four sentences?"""

from langraft.evaluate.benchmarks.benchmark import (
    AbstractBenchmark,
    Record,
    item_keys,
    language_codes,
)


class XStoryCloze(AbstractBenchmark):
    """The harness's ``xstorycloze_xx`` unchanged: the story, then an ending (arXiv:2112.10668).

    The metric is plain accuracy, the harness's only one; both endings are sentences.
    """

    languages = language_codes("ar en es eu hi id my ru sw te zh")
    task_name = "xstorycloze_{}"
    harness_folders = ("xstorycloze",)
    layout = item_keys(
        input_sentence_1=str,
        input_sentence_2=str,
        input_sentence_3=str,
        input_sentence_4=str,
        sentence_quiz1=str,
        sentence_quiz2=str,
        answer_right_ending=(1, 2),
    )
    test_splits = ("eval", "test", "validation", "")
    shot_splits = ("train",)

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the record with the keys that the harness reads."""
        return [{key: record[key] for key in self.layout}]
