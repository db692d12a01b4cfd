"""Belebele's records: a passage, a question and four answers, one of them right."""

from collections.abc import Mapping
from typing import Any

from langraft.evaluate.benchmarks.benchmark import Record, item_keys

LAYOUT = item_keys(
    flores_passage=str,
    question=str,
    mc_answer1=str,
    mc_answer2=str,
    mc_answer3=str,
    mc_answer4=str,
    correct_answer_num=("1", "2", "3", "4"),
)


def questions(record: Record) -> list[Record]:
    """Return the record, or one item for each question of a passage that has ``items``."""
    if "items" not in record:
        number = str(record["correct_answer_num"])
        return [{key: record[key] for key in LAYOUT} | {"correct_answer_num": number}]
    return [_item(record["text"], question) for question in record["items"]]


def _item(passage: str, found: Mapping[str, Any]) -> Record:
    one, two, three, four = found["answers"]
    (right,) = (n for n, a in enumerate((one, two, three, four), start=1) if a["correct"])
    return {
        "flores_passage": passage,
        "question": found["question"],
        "mc_answer1": one["text"],
        "mc_answer2": two["text"],
        "mc_answer3": three["text"],
        "mc_answer4": four["text"],
        "correct_answer_num": str(right),
    }
