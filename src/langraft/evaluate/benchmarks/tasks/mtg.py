"""MTG: four kinds of text to write in five languages."""

from typing import Any

from langraft.core.language import language_name
from langraft.evaluate.benchmarks.benchmark import (
    GREEDY,
    AbstractBenchmark,
    Record,
    item_keys,
    language_codes,
)
from langraft.evaluate.benchmarks.kinds.rouge_metric import rouge_scorer

_INSTRUCTIONS = {
    "story": "Write an ending of the story in {language}.",
    "title": "Write a title of the text in {language}.",
    "question": "Write a question about the text in {language}.",
    "summary": "Write a summary of the text in {language}.",
}


class MTG(AbstractBenchmark):
    """Story ending, title, question and summary; the mean of Rouge-1, 2 and L.

    PolyLM (arXiv:2307.06018, section 5): one example, 200 items. The paper prints no prompt; ours
    is the text, an instruction and the answer on the next line. No hub has the data in one place:
    a line of ``mtg/de.test.jsonl`` has ``task`` (one of the four), ``source`` and ``target``.
    """

    languages = language_codes("de en es fr zh")
    shots = 1
    metric = "rouge,none"
    parts = tuple(_INSTRUCTIONS)
    layout = item_keys(task=tuple(_INSTRUCTIONS), source=str, target=str)
    shot_splits = ("train", "dev", "validation")
    has_hub_data = False

    def config(self, language: str, part: str) -> dict[str, Any]:
        """Return the task of a language and kind of text."""
        instruction = _INSTRUCTIONS[part].format(language=language_name(language))
        return {
            "task": f"mtg_{part}_{language}",
            "output_type": "generate_until",
            "doc_to_text": f"{{{{source}}}}\n{instruction}\n",
            "doc_to_target": "{{target}}",
            "target_delimiter": "",
            "process_results": rouge_scorer(language),
            "generation_kwargs": dict(GREEDY),
            "metric_list": [{"metric": "rouge", "aggregation": "mean", "higher_is_better": True}],
            "metadata": {"version": 1.0},
        }

    def items(self, record: Record, language: str, part: str) -> list[Record]:
        """Return the record unless it is of another kind; ``layout`` refuses unknown ones."""
        is_other = record["task"] in self.parts and record["task"] != part
        return [] if is_other else [record]
