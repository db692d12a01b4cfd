"""The seed tasks that self-instruct starts from: langraft's English ones, or a user's own.

PolyLM (arXiv:2307.06018, section 4.1) takes 162 of Alpaca's 175 seeds, without those bound to a
culture. Ours are fit to be translated: no holidays, foods, laws, currencies or idioms of one
country, and nothing that dies in translation, such as rhymes, puns or spelling.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from langraft.chat.formats import clean_input, refuse_unused_keys
from langraft.chat.messages import InvalidConversation, refuse_keys
from langraft.core.errors import CorpusError
from langraft.corpus.reading.encodings import is_encodable
from langraft.corpus.reading.paths import path_status
from langraft.corpus.reading.records import Invalid, as_text, encodable
from langraft.self_instruct.records import Instruction, parse_jsonl, read_user_text

SEED_LANGUAGE = "en"
SEED_FILE = Path(__file__).parent / "seeds.jsonl"


def seed_tasks() -> list[Instruction]:
    """Return langraft's seeds, in order, with ids ``seed_01`` and so on."""
    return [
        Instruction(
            instruction=record["instruction"],
            input=record["input"],
            output=record["output"],
            language=SEED_LANGUAGE,
            id=record["id"],
        )
        for record in parse_jsonl(SEED_FILE.read_text(encoding="utf-8"))
    ]


def read_seeds(path: Path, language: str, min_count: int) -> list[Instruction]:
    """Read a user's seeds: lines of JSON with instruction, input (may be left out) and output.

    Raises:
        CorpusError: when the file cannot be read, a line is no task, an id is not unique, or there
            are too few.
    """
    hint = f"Write the seeds of {language}, or leave the key `seeds` out."
    path_status(path)  # says where a link leads nowhere
    text = read_user_text(path, "file of seeds", hint, CorpusError)
    seeds = [
        _read_seed(line, f"{path}:{number}", language, f"seed_{number:03d}")
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    if len(seeds) < min_count:
        raise CorpusError(
            f"{path} holds {len(seeds)} seeds; a prompt shows {min_count} different ones. Add some."
        )
    counts = Counter(seed.id for seed in seeds)
    repeated = next((id for id, count in counts.items() if count > 1), None)
    if repeated is not None:
        raise CorpusError(f"{path}: several seeds have the id {repeated!r}.")
    return seeds


def _read_seed(line: str, place: str, language: str, default_id: str) -> Instruction:
    expected = "Each line is JSON with the texts instruction, input and output."
    try:
        record: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{place} is no JSON: {error}. {expected}") from None
    if not isinstance(record, dict):
        raise CorpusError(f"{place} holds {type(record).__name__}. {expected}")
    for key in ("instruction", "output"):
        if isinstance(as_text(record.get(key), key), Invalid):
            raise CorpusError(f"{place}: {key} is no text. {expected}")
    given = record.get("input")
    if not isinstance(given, str | None) or not is_encodable(given or ""):
        raise CorpusError(f"{place}: input is no text. {expected}")
    try:
        refuse_unused_keys(record)
        refuse_keys(record, dict.fromkeys(("system", "history"), "not used in seeds"))
    except InvalidConversation as error:
        raise CorpusError(f"{place}: {error}. {expected}") from None
    return Instruction(
        instruction=record["instruction"].strip(),
        input=clean_input(given),
        output=record["output"].strip(),
        language=language,
        id=encodable(str(record.get("id") or default_id)),
    )
