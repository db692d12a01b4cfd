"""ARC's records in English: a question, three to five choices with labels, the answer's label."""

from langraft.evaluate.benchmarks.benchmark import Record

_KEYS = ("id", "question", "choices", "answerKey")


def science_question(record: Record) -> Record:
    """Return the keys that the harness reads.

    Raises:
        KeyError, ValueError: when one lacks, a choice is no text, or no choice is the answer.
    """
    texts, labels = record["choices"]["text"], record["choices"]["label"]
    labels.index(record["answerKey"])
    if len(texts) != len(labels) or not all(isinstance(text, str) for text in texts):
        raise ValueError("not every choice is a text")
    return {key: record[key] for key in _KEYS}
