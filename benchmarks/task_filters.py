"""Measure the exact search for similar instructions, and compare it with the double loop.

python benchmarks/task_filters.py --data ../shared/data

Spanish: 15,000 collected instructions are the 9,958 of MultiAlpaca, the 427 English ones of
Self-Instruct and Spanish ones of which half of the words are drawn anew; 11,000 candidates are
Spanish ones of which a tenth to nine tenths are drawn anew. Chinese: the same with stretches of 12
to 40 characters of running text, since Chinese words are characters. A candidate that is like no
collected instruction joins them. At the end, what all filters say of the Spanish data as it is.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from langraft.chat.formats import clean_input
from langraft.self_instruct.filters.language_check import make_language_check
from langraft.self_instruct.filters.rouge import InstructionPool, rouge_l, tokenize
from langraft.self_instruct.filters.settings import TaskFilterSettings
from langraft.self_instruct.filters.task_filters import TaskFilters
from langraft.self_instruct.parse_tasks import DroppedTask, ParsedTask

LIMIT = 0.7
NUM_COLLECTED = 15_000
NUM_CANDIDATES = 11_000


def records(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def chinese_stretches(path: Path, draw: random.Random) -> Iterator[str]:
    for record in records(path):
        for line in record["text"].splitlines():
            start = 0
            while len(line) - start > 40:
                length = draw.randint(12, 40)
                yield line[start : start + length]
                start += length


def change(words: list[str], share: float, all_words: list[str], draw: random.Random) -> str:
    """Draw a share of the words anew, as often as words are used."""
    return " ".join(draw.choice(all_words) if draw.random() < share else word for word in words)


def measure(originals: list[str], extra: list[str], language: str, num_checked: int) -> None:
    draw = random.Random(0)
    words_of = [tokenize(text, language) for text in originals]
    all_words = [word for words in words_of for word in words]
    collected = [*originals, *extra]
    while len(collected) < NUM_COLLECTED:
        collected.append(change(draw.choice(words_of), 0.5, all_words, draw))
    candidates = [
        change(draw.choice(words_of), draw.uniform(0.1, 0.9), all_words, draw)
        for _ in range(NUM_CANDIDATES)
    ]
    pool = InstructionPool(LIMIT)
    start = time.perf_counter()
    for text in collected:
        pool.add(text, language)
    seconds_to_add = time.perf_counter() - start
    kept: list[str] = []
    pool_sizes: list[int] = []
    found: list[tuple[str, float] | None] = []
    start = time.perf_counter()
    for text in candidates:
        pool_sizes.append(len(pool))
        found.append(pool.nearest(text, language))
        if found[-1] is None:
            pool.add(text, language)
            kept.append(text)
    seconds = time.perf_counter() - start

    members = collected + kept
    tokens = [tokenize(text, language) for text in members]
    lengths = np.array([len(words) for words in tokens])
    num_pairs = sum(pool_sizes)
    num_by_length = 0
    for text, size in zip(candidates, pool_sizes, strict=True):
        length = len(tokenize(text, language))
        bound = 2 * np.minimum(lengths[:size], length) / np.maximum(lengths[:size] + length, 1)
        num_by_length += int((bound < LIMIT).sum())
    checked = sorted(draw.sample(range(NUM_CANDIDATES), num_checked))
    start = time.perf_counter()
    for place in checked:
        words = tokenize(candidates[place], language)
        scores = [rouge_l(words, other) for other in tokens[: pool_sizes[place]]]
        best = max(range(len(scores)), key=scores.__getitem__)
        expected = (members[best], scores[best]) if scores[best] >= LIMIT else None
        assert found[place] == expected, (found[place], expected)
    unpruned = (time.perf_counter() - start) / num_checked * NUM_CANDIDATES

    print(
        f"{language}: {len(collected):,} collected in {seconds_to_add:.1f} s, {NUM_CANDIDATES:,} "
        f"candidates in {seconds:.1f} s, {len(kept):,} kept; {lengths.mean():.1f} words each"
    )
    num_by_overlap = num_pairs - num_by_length - pool.num_compared
    for name, number in [
        ("pairs", num_pairs),
        ("pruned by lengths alone", num_by_length),
        ("pruned by words in common", num_by_overlap),
        ("compared", pool.num_compared),
    ]:
        print(f"  {name:26} {number:13,} {number / num_pairs:10.4%}")
    print(
        f"  {num_checked} candidates checked against the double loop: equal; it would take "
        f"{unpruned:.0f} s for all"
    )


def filter_tasks(data: list[dict[str, Any]], language: str) -> None:
    settings = TaskFilterSettings()
    filters = TaskFilters(make_language_check(language, settings), [], settings)
    start = time.perf_counter()
    results = [
        filters.apply(ParsedTask(r["instruction"], clean_input(r["input"]), r["output"]))
        for r in data
    ]
    seconds = time.perf_counter() - start
    counts = Counter(v.reason if isinstance(v, DroppedTask) else "kept" for v in results)
    print(f"{language}: {len(data):,} tasks filtered in {seconds:.1f} s")
    for reason, count in counts.most_common():
        print(f"  {reason:26} {count:13,} {count / len(data):10.2%}")
    print(f"  {'input removed':26} {filters.num_inputs_removed:13,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Folder with instruct/ and mono/.")
    parser.add_argument("--checked", type=int, default=100, help="Candidates to check.")
    given = parser.parse_args()
    folder = given.data / "instruct"
    multialpaca = list(records(folder / "multialpaca_es.jsonl.gz"))
    spanish = [record["instruction"] for record in multialpaca]
    english = [
        r["instruction"]
        for name in ("self_instruct_seed_tasks", "self_instruct_user_oriented")
        for r in records(folder / f"{name}.jsonl.gz")
    ]
    measure(spanish, english, "es", given.checked)
    draw = random.Random(0)
    chinese = list(chinese_stretches(given.data / "mono" / "zh.jsonl.gz", draw))
    measure(draw.sample(chinese, 10_000), [], "zh", given.checked)
    filter_tasks(multialpaca, "es")


if __name__ == "__main__":
    main()
