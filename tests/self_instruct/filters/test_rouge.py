from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langraft.self_instruct.filters.rouge import InstructionPool, common_length, rouge_l, tokenize
from langraft.self_instruct.seeds import seed_tasks

SPANISH = Path(__file__).parents[4] / "shared" / "data" / "instruct" / "multialpaca_es.jsonl.gz"
LIMIT = 0.7
WORDS = st.lists(st.sampled_from("abcde"), max_size=40)


def textbook_length(a: Sequence[str], b: Sequence[str]) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
            )
    return table[len(a)][len(b)]


@given(WORDS, WORDS)
def test_the_common_length_is_that_of_the_textbook(a: list[str], b: list[str]) -> None:
    assert common_length(a, b) == textbook_length(a, b)


@given(st.text(st.characters(max_codepoint=127)), st.text(st.characters(max_codepoint=127)))
def test_rouge_l_is_that_of_the_package_on_ascii(a: str, b: str) -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer").RougeScorer(["rougeL"])
    expected = scorer.score(a, b)["rougeL"].fmeasure
    assert rouge_l(tokenize(a, "en"), tokenize(b, "en")) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "language", "tokens"),
    [
        ("Don't STOP, now!", "en", ["don", "t", "stop", "now"]),
        ("ΚΑΛΗΜΈΡΑ, κόσμε", "el", ["καλημέρα", "κόσμε"]),
        ("cafe\u0301 20%", "es", ["caf\u00e9", "20"]),
        ("你好,AI世界2024", "zh", ["你", "好", "ai", "世", "界", "2024"]),
        ("東京タワーへ", "ja", ["東", "京", "タ", "ワ", "ー", "へ"]),
        ("ไปดี", "th", ["ไ", "ป", "ด", "ี"]),
        ("বাংলা ভাষা", "bn", ["বাংলা", "ভাষা"]),
        ("བོད་སྐད་", "bo", ["བོད", "སྐད"]),
        ("說 yes 好", "en", ["說", "yes", "好"]),
        ("!? …", "en", []),
    ],
)
def test_words_follow_the_script_of_their_characters(
    text: str, language: str, tokens: list[str]
) -> None:
    assert tokenize(text, language) == tokens


def instructions() -> list[str]:
    """Return 1,500 real instructions, or the seeds with changed words where these are not here."""
    if SPANISH.exists():
        with gzip.open(SPANISH, "rt", encoding="utf-8") as file:
            return [json.loads(line)["instruction"] for line in islice(file, 1500)]
    draw = random.Random(0)
    texts = [task.instruction for task in seed_tasks()] * 5
    return [
        " ".join("other" if draw.random() < 0.2 else word for word in text.split())
        for text in texts
    ]


@pytest.mark.thorough
def test_the_pruned_search_keeps_what_the_double_loop_keeps() -> None:
    pool = InstructionPool(LIMIT)
    tokens: dict[str, list[str]] = {}
    num_similar = num_pairs = 0
    for text in instructions():
        words = tokenize(text, "es")
        scores = {other: rouge_l(words, theirs) for other, theirs in tokens.items()}
        highest = max(scores.values(), default=0.0)
        found = pool.nearest(text, "es")
        num_pairs += len(scores)
        if highest >= LIMIT:
            num_similar += 1
            assert found == next((o, f) for o, f in scores.items() if f == highest)
        else:
            assert found is None
            pool.add(text, "es")
            tokens[text] = words
    assert num_similar > 10
    assert len(pool) == len(tokens)
    assert pool.num_compared < 0.02 * num_pairs


@given(st.lists(WORDS, max_size=8), WORDS, st.sampled_from([0.1, 0.3, 0.5, 0.7, 1.0]))
def test_pruning_never_loses_the_nearest(
    collected: list[list[str]], new: list[str], limit: float
) -> None:
    pool = InstructionPool(limit)
    for words in collected:
        pool.add(" ".join(words), "en")
    found = pool.nearest(" ".join(new), "en")
    highest = max((rouge_l(new, words) for words in collected), default=0.0)
    assert (None if found is None else found[1]) == (highest if highest >= limit else None)


def test_texts_without_words_are_like_nothing() -> None:
    pool = InstructionPool()
    pool.add("…", "en")
    assert pool.nearest("…", "en") is None
    assert pool.nearest("", "en") is None
    assert rouge_l([], []) == 0.0
