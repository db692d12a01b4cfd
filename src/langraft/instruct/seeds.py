"""The seed tasks that self-instruct starts from: English, and fit to be translated.

PolyLM (arXiv:2307.06018, section 4.1) takes 162 of Alpaca's 175 seeds, without those bound to a
culture. These are our own: no holidays, foods, laws, currencies or idioms of one country, and
nothing that dies in translation, such as rhymes, puns or spelling.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

from langraft.instruct.instruction import Instruction
from langraft.instruct.records import parse_lines

SEED_LANGUAGE = "en"


def seed_tasks() -> list[Instruction]:
    """Return the seeds, in order, with ids ``seed_01`` and so on."""
    return [
        Instruction(
            instruction=record["instruction"],
            input=record["input"],
            output=record["output"],
            language=SEED_LANGUAGE,
            id=record["id"],
        )
        for record in _records()
    ]


def seed_kinds() -> dict[str, str]:
    """Return the kind of task of each seed, by its id."""
    return {record["id"]: record["kind"] for record in _records()}


def _records() -> Iterator[dict[str, Any]]:
    file = resources.files("langraft.instruct").joinpath("seeds.jsonl")
    yield from parse_lines(file.read_text("utf-8"))
